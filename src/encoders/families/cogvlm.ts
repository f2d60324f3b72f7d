import { layerNorm, linear } from '../graph/builder.ts'
import { withoutClass } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { meanColour } from '../preprocess/anyres.ts'
import { wholeSquare } from './parts/whole-square.ts'

/** PyTorch's default, which may differ from the tower's. */
const epsilon = 1e-5

/**
 * CogVLM: an image is fitted into one square, and EVA-CLIP, which norms what it adds, reads it with a class token. Learned
 * rows stand before and after the embeddings. The decoder has weights of its own for images. After llama.cpp's tools/mtmd
 * (models/cogvlm.cpp, `mtmd_image_preprocessor_fixed_size`).
 */
export const cogvlm: ImageFamily = {
  types: ['cogvlm'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.down.weight').rows,

  open(metadata) {
    const tower = transformer(metadata, { normsAfter: true })
    const square = wholeSquare(metadata, { tokens: (side) => side ** 2 + 2, colour: meanColour })

    return {
      ...square.outside,

      build(graph) {
        const rows = graph.concatRows(square.patches(graph), graph.weight('v.class_embd'))
        const seen = withoutClass(graph, tower.all(graph, graph.add(rows, graph.weight('v.position_embd.weight'))))
        const x = graph.gelu(layerNorm(graph, linear(graph, seen, 'mm.model.fc'), 'mm.post_fc_norm', epsilon))
        const gated = graph.swiglu(linear(graph, x, 'mm.gate'), linear(graph, x, 'mm.up'))
        const embeddings = graph.concatRows(graph.weight('v.boi'), linear(graph, gated, 'mm.down'))
        return graph.concatRows(embeddings, graph.weight('v.eoi'))
      },
    }
  },
}
