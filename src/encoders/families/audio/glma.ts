import type { AudioFamily } from '../../audio-architecture.ts'
import { layerNorm } from '../../graph/builder.ts'
import { perceptron, stackFactor, whisper } from './parts/whisper.ts'

/**
 * GLM-ASR: Whisper's rows in stacks, with an embedding of their own before and after those of each chunk. After llama.cpp's
 * tools/mtmd (models/whisper-enc.cpp).
 */
export const glma: AudioFamily = {
  types: ['glma'],
  width: (metadata) => metadata.needTensor('mm.a.mlp.2.weight').rows,

  open(metadata) {
    const { outside, heard, stacked, epsilon } = whisper(metadata, { stack: stackFactor(metadata), added: 2 })

    return {
      ...outside,

      build(graph, chunk) {
        const normed = layerNorm(graph, heard(graph, chunk), 'mm.a.norm_pre', epsilon)
        const rows = perceptron(graph, stacked(graph, normed))
        return graph.concatRows(graph.concatRows(graph.weight('v.boi'), rows), graph.weight('v.eoi'))
      },
    }
  },
}
