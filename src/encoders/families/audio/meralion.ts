import type { AudioFamily } from '../../audio-architecture.ts'
import { layerNorm, linear } from '../../graph/builder.ts'
import { stackFactor, whisper } from './parts/whisper.ts'

/** MERaLiON: Whisper's rows in stacks, through a gated projector. After llama.cpp's tools/mtmd (models/whisper-enc.cpp). */
export const meralion: AudioFamily = {
  types: ['meralion'],
  width: (metadata) => metadata.needTensor('mm.a.mlp.3.weight').rows,

  open(metadata) {
    const { outside, heard, stacked, epsilon } = whisper(metadata, { stack: stackFactor(metadata) })

    return {
      ...outside,

      build(graph, chunk) {
        const normed = layerNorm(graph, stacked(graph, heard(graph, chunk)), 'mm.a.norm_pre', epsilon)
        const x = graph.silu(linear(graph, normed, 'mm.a.mlp.0'))
        const gated = graph.swiglu(linear(graph, x, 'mm.a.mlp.1'), linear(graph, x, 'mm.a.mlp.2'))
        return linear(graph, gated, 'mm.a.mlp.3')
      },
    }
  },
}
