import type { AudioFamily } from '../../audio-architecture.ts'
import { linear } from '../../graph/builder.ts'
import { whisper } from './parts/whisper.ts'

/**
 * Qwen2-Audio, and the ears of Qwen2.5-Omni: averages of pairs of Whisper's rows, through one matrix. After llama.cpp's
 * tools/mtmd (models/whisper-enc.cpp).
 */
export const qwen2a: AudioFamily = {
  types: ['qwen2a', 'qwen2.5o'],
  width: (metadata) => metadata.needTensor('mm.a.fc.weight').rows,

  open(metadata) {
    const { outside, heard } = whisper(metadata, { averages: true, marks: ['<|audio_bos|>', '<|audio_eos|>'] })
    return { ...outside, build: (graph, chunk) => linear(graph, heard(graph, chunk), 'mm.a.fc') }
  },
}
