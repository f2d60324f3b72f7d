import type { AudioFamily } from '../../audio-architecture.ts'
import { linear } from '../../graph/builder.ts'
import { ownFrames } from './parts/chunks.ts'

/** Samples of an embedding: 40 ms. */
const frame = 640
/** Of the norm. */
const epsilon = 1e-6

/**
 * Gemma 4 12B has no audio encoder: the samples themselves, normed, through one matrix. After llama.cpp's tools/mtmd
 * (models/gemma4ua.cpp, `mtmd_audio_preprocessor_gemma4ua`).
 */
export const gemma4ua: AudioFamily = {
  types: ['gemma4ua'],
  width: (metadata) => metadata.needTensor('mm.a.input_projection.weight').rows,

  open: () => ({
    plan(samples) {
      const frames = Math.ceil(samples / frame)
      const chunk = { from: 0, to: samples, first: 0, frames, tokens: frames }
      return { samples, name: String(frames), layout: ['<|audio>', chunk, '<audio|>'] }
    },

    // In one stretch: the samples are only copied.
    *listen(samples) {
      yield
      const values = new Float32Array(Math.ceil(samples.length / frame) * frame)
      values.set(samples)
      return { values, width: frame }
    },

    prepare: ownFrames,

    grid: ({ frames }) => ({ rows: frames, columns: 1 }),

    build: (graph, { frames }) =>
      linear(graph, graph.rmsNorm(graph.input(frames, frame), undefined, epsilon), 'mm.a.input_projection'),
  }),
}
