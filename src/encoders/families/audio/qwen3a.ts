import type { AudioFamily } from '../../audio-architecture.ts'
import { type GraphBuilder, type Grid, linear, strided } from '../../graph/builder.ts'
import { exactGelu, transformer } from '../../graph/transformer.ts'
import { inWhisperRange, logMel, mirrored, whisperMel } from '../../preprocess/mel.ts'
import { perceptron } from './parts/whisper.ts'

/** Frames that are convolved together, and frames that attend to each other. */
const stretch = 100
const window = 800
/** Convolutions of stride 2. */
const convolutions = 3
const tokens = stridedTimes(stretch, convolutions)

/**
 * Qwen3-Omni's ears, and Qwen3-ASR: each second is convolved by itself, and the embeddings of eight seconds attend to each
 * other. After llama.cpp's tools/mtmd (models/qwen3a.cpp, `mtmd_audio_preprocessor_qwen3a`).
 */
export const qwen3a: AudioFamily = {
  types: ['qwen3a'],
  width: (metadata) => metadata.needTensor('mm.a.mlp.2.weight').rows,

  open(metadata) {
    const bands = metadata.number('clip.audio.num_mel_bins')
    const mel = { ...whisperMel, bands }
    const tower = transformer(metadata, { modality: 'audio', activation: exactGelu })
    const second: Grid = { rows: bands, columns: stretch }

    return {
      plan(samples) {
        const frames = Math.floor(samples / mel.hop) + 1
        const chunks = Array.from({ length: Math.ceil(frames / window) }, (_, index) => {
          const first = index * window
          const heard = Math.min(window, frames - first)
          const stretches = Math.ceil(heard / stretch)
          return {
            from: first * mel.hop,
            to: Math.min(samples, (first + heard) * mel.hop),
            first,
            frames: stretches * stretch,
            tokens: stretches * tokens,
          }
        })
        return { samples, name: String(frames), layout: ['<|audio_start|>', ...chunks, '<|audio_end|>'] }
      },

      *listen(samples) {
        return inWhisperRange(yield* logMel(mirrored(samples, mel.frame / 2), mel))
      },

      /** Second by second, in each of them band by band. */
      prepare({ values, width }, { first, frames }) {
        const out = new Float32Array(frames * width)
        const heard = Math.min(frames, window, values.length / width - first)
        for (let frame = 0; frame < heard; frame++) {
          const at = Math.floor(frame / stretch) * stretch * width + (frame % stretch)
          for (let band = 0; band < width; band++)
            out[at + band * stretch] = values[(first + frame) * width + band] as number
        }
        return out
      },

      grid: ({ frames }) => ({ ...second, frames: frames / stretch }),

      build<N>(graph: GraphBuilder<N>, { frames }: { frames: number }): N {
        let x = graph.input(frames * bands, 1)
        let grid = second
        for (let index = 1; index <= convolutions; index++) {
          const name = `a.conv2d.${index}`
          const convolved = graph.convolution(x, graph.weight(`${name}.weight`), grid, 2)
          x = graph.geluErf(graph.has(`${name}.bias`) ? graph.add(convolved, graph.weight(`${name}.bias`)) : convolved)
          grid = strided(grid, 2)
        }
        const { rows, columns } = grid
        const inTime = graph.takeRows(x, 'in time', ({ frames = 1 }) => turned(frames, rows, columns))
        const joined = graph.interleave(graph.joinRows(inTime, rows), rows)
        const positions = graph.takeRows(graph.weight('a.position_embd.weight'), 'heard', ({ frames = 1 }) =>
          Int32Array.from({ length: frames * columns }, (_, row) => row % columns),
        )
        return perceptron(graph, tower.all(graph, graph.add(linear(graph, joined, 'a.conv_out'), positions)))
      },
    }
  },
}

function stridedTimes(length: number, times: number): number {
  return times === 0 ? length : stridedTimes(Math.ceil(length / 2), times - 1)
}

/** The rows of grids one after the other, column by column. */
const turned = (grids: number, rows: number, columns: number): Int32Array =>
  Int32Array.from({ length: grids * rows * columns }, (_, at) => {
    const [grid, place] = [Math.floor(at / (rows * columns)), at % (rows * columns)]
    return grid * rows * columns + (place % rows) * columns + Math.floor(place / rows)
  })
