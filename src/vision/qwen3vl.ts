import type { Architecture } from './architecture.ts'
import { layerNorm } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { betweenCorners, resizedPositions } from './positions.ts'
import { qwenPictures } from './qwen.ts'
import { transformer } from './transformer.ts'

/**
 * Qwen3-VL: learned positions beside the rotary ones, and what some of the layers say of a picture is given to the
 * decoder's first layers (deepstack): it lies behind the embedding's own numbers. After llama.cpp's tools/mtmd
 * (models/qwen3vl.cpp).
 */
export function qwen3vl(metadata: Metadata): Architecture {
  const pictures = qwenPictures(metadata)
  const tower = transformer(metadata, { rope: pictures.rope })
  const told = Array.from({ length: tower.layers }, (_, layer) => `v.deepstack.${layer}`).filter(
    (name) => metadata.tensor(`${name}.fc1.weight`) !== null,
  )
  return {
    name: 'qwen3vl_merger',
    width: (metadata.tensor('mm.2.weight')?.rows ?? 0) * (1 + told.length),
    ...pictures.outside,

    build(graph, tile) {
      const positions = resizedPositions(graph, tower.width, betweenCorners)
      let x = graph.add(pictures.patches(graph, tile), pictures.inSquares(graph, positions))
      const features: (typeof x)[] = []
      for (let layer = 0; layer < tower.layers; layer++) {
        x = tower.layer(graph, x, layer)
        const name = `v.deepstack.${layer}`
        if (!told.includes(name)) continue
        const squares = layerNorm(graph, pictures.joined(graph, x), `${name}.norm`, tower.epsilon)
        features.push(pictures.projected(graph, squares, [`${name}.fc1`, `${name}.fc2`]))
      }
      const seen = layerNorm(graph, x, 'v.post_ln', tower.epsilon)
      return features.reduce(
        (row, feature) => graph.concatColumns(row, feature),
        pictures.projected(graph, pictures.joined(graph, seen)),
      )
    },
  }
}
