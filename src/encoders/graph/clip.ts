import type { Metadata } from '../../gguf/index.ts'
import { type GraphBuilder, layerNorm, linear } from './builder.ts'
import { type Tower, transformer } from './transformer.ts'

/**
 * CLIP's vision transformer as LLaVA uses it: the features are the output of the last layer but one, or of several layers
 * side by side. After llama.cpp's tools/mtmd (`clip_graph_llava::build`, models/llava.cpp).
 */
export function clip(metadata: Metadata): Tower {
  const { layers, width, epsilon, layer } = transformer(metadata)
  // The feature of a number is the input of that layer; negative numbers are ignored.
  const features = metadata.integers('clip.vision.feature_layer').filter((layer) => layer >= 0)
  const deepest = features.length > 0 ? Math.max(...features) : layers - 1
  return {
    edge: metadata.number('clip.vision.image_size'),
    width: width * Math.max(1, new Set(features).size),
    build(graph, patches) {
      const hasClass = graph.has('v.class_embd')
      let x = linear(graph, patches, 'v.patch_embd')
      if (hasClass) x = graph.concatRows(x, graph.weight('v.class_embd'))
      x = graph.add(x, graph.weight('v.position_embd.weight'))
      if (graph.has('v.pre_ln.weight')) x = layerNorm(graph, x, 'v.pre_ln', epsilon)
      const seen = []
      for (let index = 0; index < deepest; index++) {
        if (features.includes(index)) seen.push(x)
        x = layer(graph, x, index)
      }
      if (graph.has('v.post_ln.weight')) x = layerNorm(graph, x, 'v.post_ln', epsilon)
      if (features.includes(deepest)) seen.push(x)
      x = seen.slice(1).reduce((joined, next) => graph.concatColumns(joined, next), seen[0] ?? x)
      return hasClass ? withoutFirst(graph, x) : x
    },
  }
}

/**
 * llama.cpp puts the class embedding after the patches, although it preceded them in training, and then drops the first
 * row, so that the class embedding counts as the last patch. It is done here too, for the same answers.
 */
const withoutFirst = <N>(graph: GraphBuilder<N>, x: N): N =>
  graph.takeRows(x, 'patches', ({ rows, columns }) => Int32Array.from({ length: rows * columns }, (_, at) => at + 1))
