import type { Metadata } from '../../gguf/index.ts'
import { layerNorm } from '../graph/builder.ts'
import { betweenCorners, resizedPositions } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { qwenImages, qwenWidth } from './parts/qwen.ts'

/**
 * Qwen3-VL: learned positions in addition to the rotary ones. Features of some layers go to the first layers of the decoder
 * (deepstack): they follow the numbers of the embedding itself. After llama.cpp's tools/mtmd (models/qwen3vl.cpp).
 */
export const qwen3vl: ImageFamily = {
  types: ['qwen3vl_merger'],
  coordinates: 1000,
  width: (metadata) => qwenWidth(metadata) * (1 + deepstackLayers(metadata).size),

  open(metadata) {
    const images = qwenImages(metadata, { ways: { framesPerTile: 2 } })
    const tower = transformer(metadata, { rope: images.rope })
    const deepstack = deepstackLayers(metadata)
    return {
      ...images.outside,

      build(graph, tile) {
        const positions = resizedPositions(graph, tower.width, betweenCorners)
        let x = graph.add(images.patches(graph, tile), images.inSquares(graph, positions))
        const features: (typeof x)[] = []
        for (let layer = 0; layer < tower.layers; layer++) {
          x = tower.layer(graph, x, layer)
          if (!deepstack.has(layer)) continue
          const name = `v.deepstack.${layer}`
          const squares = layerNorm(graph, images.joined(graph, x), `${name}.norm`, tower.epsilon)
          features.push(images.projected(graph, squares, [`${name}.fc1`, `${name}.fc2`]))
        }
        const seen = layerNorm(graph, x, 'v.post_ln', tower.epsilon)
        return features.reduce(
          (row, feature) => graph.concatColumns(row, feature),
          images.projected(graph, images.joined(graph, seen)),
        )
      },
    }
  },
}

/** The layers of the encoder whose features go to the decoder. */
const deepstackLayers = ({ tensorNames }: Metadata): ReadonlySet<number> =>
  new Set(tensorNames.flatMap((name) => /^v\.deepstack\.(\d+)\.fc2\.weight$/.exec(name)?.[1] ?? []).map(Number))
