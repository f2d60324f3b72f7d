import type { AudioFamily } from '../../audio-architecture.ts'
import { linear, rmsNorm } from '../../graph/builder.ts'
import { stackFactor, whisper } from './parts/whisper.ts'

/** Of the projector's norms. */
const epsilon = 1e-6

/** Ultravox: Whisper's rows in stacks, through a gated projector. After llama.cpp's tools/mtmd (models/whisper-enc.cpp). */
export const ultravox: AudioFamily = {
  types: ['ultravox'],
  width: (metadata) => metadata.needTensor('mm.a.mlp.2.weight').rows,

  open(metadata) {
    const { outside, heard, stacked } = whisper(metadata, { stack: stackFactor(metadata) })
    const half = metadata.needTensor('mm.a.mlp.1.weight').rows / 2

    return {
      ...outside,

      build(graph, chunk) {
        const normed = rmsNorm(graph, stacked(graph, heard(graph, chunk)), 'mm.a.norm_pre', epsilon)
        const both = linear(graph, normed, 'mm.a.mlp.1')
        // The second half is the gate.
        const active = graph.swiglu(graph.columns(both, half, half), graph.columns(both, 0, half))
        return linear(graph, rmsNorm(graph, active, 'mm.a.norm_mid', epsilon), 'mm.a.mlp.2')
      },
    }
  },
}
