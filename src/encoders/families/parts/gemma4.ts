import type { Metadata } from '../../../gguf/index.ts'
import { type GraphBuilder, type Grid, linear } from '../../graph/builder.ts'
import type { ImagePipeline } from '../../image-architecture.ts'
import type { PatchReader } from '../../preprocess/patches.ts'
import { inOwnAspect } from '../../preprocess/sizes.ts'

/** The budgets of Google's processor, in tokens: its least, its default, and its most. */
const budgets = { least: 70, auto: 280, most: 1120 }

/** Patches along an edge that become one token, unless the file says otherwise. */
const usualFactor = 3

export const gemma4Factor = (metadata: Metadata): number =>
  metadata.number('clip.vision.projector.scale_factor', usualFactor)

export const gemma4Width = (metadata: Metadata): number => metadata.needTensor('mm.input_projection.weight').rows

/** @param factor patches of the reader along the edge of a square that becomes one token */
export const gemma4Images = (reader: PatchReader, factor: number): Omit<ImagePipeline, 'build' | 'atOnce'> =>
  inOwnAspect(
    reader,
    factor,
    budgets,
    (tile, { rows, columns }) => ['<|image>', { ...tile, tokens: rows * columns }, '<image|>'],
    budgets,
  )

/** The embeddings of an image, if its decoder reads all of them at once. */
export const gemma4AtOnce = budgets.most

/** Positions that were learned for columns, then as many for rows: those of each patch, summed. @param width of the tower */
export function placesOf<N>(graph: GraphBuilder<N>, width: number): N {
  const learned = graph.floats('v.position_embd.weight')
  const axis = learned.length / 2
  return graph.table('positions', width, ({ rows, columns }: Grid) => {
    const out = new Float32Array(rows * columns * width)
    for (let at = 0; at < out.length; at++) {
      const [patch, channel] = [Math.floor(at / width), at % width]
      const [row, column] = [Math.floor(patch / columns), patch % columns]
      out[at] = (learned[column * width + channel] ?? 0) + (learned[axis + row * width + channel] ?? 0)
    }
    return out
  })
}

/** A product whose inputs and outputs stay within the bounds that they had in training, if the file has those. */
export function bounded<N>(graph: GraphBuilder<N>, x: N, name: string): N {
  const bound = (kind: string, other: number): number =>
    graph.has(`${name}.${kind}`) ? (graph.floats(`${name}.${kind}`)[0] ?? other) : other
  const within = (y: N, side: 'input' | 'output'): N => {
    const [least, most] = [
      bound(`${side}_min`, Number.NEGATIVE_INFINITY),
      bound(`${side}_max`, Number.POSITIVE_INFINITY),
    ]
    return Number.isFinite(least) || Number.isFinite(most) ? graph.clamp(y, least, most) : y
  }
  return within(linear(graph, within(x, 'input'), name), 'output')
}
