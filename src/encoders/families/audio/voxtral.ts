import type { AudioFamily } from '../../audio-architecture.ts'
import { perceptron, stackFactor, whisper } from './parts/whisper.ts'

/** Voxtral: averages of pairs of Whisper's rows, in stacks. After llama.cpp's tools/mtmd (models/whisper-enc.cpp). */
export const voxtral: AudioFamily = {
  types: ['voxtral'],
  width: (metadata) => metadata.needTensor('mm.a.mlp.2.weight').rows,

  open(metadata) {
    const kind = { averages: true, stack: stackFactor(metadata), marks: ['[BEGIN_AUDIO]', ''] } as const
    const { outside, heard, stacked } = whisper(metadata, kind)
    return { ...outside, build: (graph, chunk) => perceptron(graph, stacked(graph, heard(graph, chunk))) }
  },
}
