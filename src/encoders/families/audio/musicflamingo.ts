import type { AudioFamily } from '../../audio-architecture.ts'
import { perceptron, whisper } from './parts/whisper.ts'

/** Music Flamingo: averages of pairs of Whisper's rows. After llama.cpp's tools/mtmd (models/whisper-enc.cpp). */
export const musicflamingo: AudioFamily = {
  types: ['musicflamingo'],
  width: (metadata) => metadata.needTensor('mm.a.mlp.2.weight').rows,

  open(metadata) {
    const { outside, heard } = whisper(metadata, { averages: true, marks: ['<sound>', ''] })
    return { ...outside, build: (graph, chunk) => perceptron(graph, heard(graph, chunk)) }
  },
}
