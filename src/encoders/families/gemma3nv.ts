import type { Metadata } from '../../gguf/index.ts'
import { type GraphBuilder, type Grid, linear, rmsNorm, strided } from '../graph/builder.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bilinear, resizeInto } from '../preprocess/resize.ts'

/** Rows and columns of the embeddings, whatever the size of the image. */
const outputs = 16
const epsilon = 1e-6
/** Stages whose features are joined; the first of them is the finer. */
const joinedStages: readonly number[] = [2, 3]

/**
 * Gemma 3n: an image is fitted into one square, and MobileNetV5 reads it: four stages of convolutions, with attention in the
 * later ones. Features of two stages are joined and averaged. There is one size, so `detail` has no effect. After llama.cpp's
 * tools/mtmd (models/mobilenetv5.cpp, `mtmd_image_preprocessor_fixed_size`).
 */
export const gemma3nv: ImageFamily = {
  types: ['gemma3nv'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.input_projection.weight').rows,

  open(metadata) {
    // The first convolution overlaps, so the encoder has pixels for patches.
    const reader = patchReader(metadata, { edge: 1 })
    const edge = metadata.number('clip.vision.image_size')
    const width = metadata.number('clip.vision.embedding_length')
    const size = { width: edge, height: edge }
    const grid: Grid = { rows: edge, columns: edge }
    const tile = { image: 0, x: 0, y: 0, size, tokens: outputs * outputs }

    return {
      longestEdge: edge,

      plan: (original, detail) => ({
        original,
        detail,
        name: 'whole',
        layout: ['<start_of_image>', tile, '<end_of_image>'],
      }),

      scale: (image) => [resizeInto(image, size, bilinear)],
      prepare: reader.read,
      grid: () => grid,

      build(graph) {
        const seen = mobileNet(graph, metadata, graph.input(edge * edge, 3), grid)
        const large = graph.scale(seen, Math.sqrt(width))
        const projected = linear(graph, normed(graph, large, 'mm.soft_emb_norm'), 'mm.input_projection')
        return graph.rmsNorm(projected, undefined, epsilon)
      },
    }
  },
}

/** Features of the places of a grid: `[places, channels]` */
interface Field<N> {
  readonly x: N
  readonly grid: Grid
  readonly channels: number
}

/** `[pixels, 3]` -> `[outputs², width]` */
function mobileNet<N>(graph: GraphBuilder<N>, metadata: Metadata, pixels: N, grid: Grid): N {
  const channelsOf = (name: string): number => metadata.needTensor(`${name}.weight`).rows
  const blocks = blocksOf(graph, metadata)
  let field = stem(graph, pixels, grid, channelsOf('v.conv_stem.conv'))
  const features: Field<N>[] = []
  for (const [stage, count] of stagesIn(metadata).entries()) {
    for (let block = 0; block < count; block++) field = blocks(field, `v.blk.${stage}.${block}`, block === 0 ? 2 : 1)
    if (joinedStages.includes(stage)) features.push(field)
  }
  const [finest = field, ...others] = features
  const joined = others
    .map((other) => enlarged(graph, other, finest.grid))
    .reduce((all, other) => graph.concatColumns(all, other), finest.x)
  const raised = graph.gelu(convolved(graph, joined, 'v.msfa.ffn.pw_exp'))
  const mixed = convolved(graph, raised, 'v.msfa.ffn.pw_proj')
  const window = Math.floor(finest.grid.columns / outputs)
  const averages = window > 1 ? graph.averagePool(mixed, finest.grid, { rows: window, columns: window }) : mixed
  return normed(graph, averages, 'v.msfa.norm')
}

function stem<N>(graph: GraphBuilder<N>, pixels: N, grid: Grid, channels: number): Field<N> {
  const y = graph.convolution(pixels, graph.weight('v.conv_stem.conv.weight'), grid, 2, 'same')
  const biased = graph.has('v.conv_stem.conv.bias') ? graph.add(y, vector(graph, 'v.conv_stem.conv.bias', channels)) : y
  return { x: graph.gelu(normed(graph, biased, 'v.conv_stem.bn')), grid: strided(grid, 2), channels }
}

/** The blocks of the stages, each by its name. A stride of 2 halves the grid. */
function blocksOf<N>(graph: GraphBuilder<N>, metadata: Metadata) {
  const rowsOf = (name: string): number => metadata.needTensor(`${name}.weight`).rows

  /** A full convolution to more channels, and back to few. */
  const residual = (field: Field<N>, block: string, stride: number): Field<N> => {
    const kernel = graph.weight(`${block}.conv_exp.weight`)
    const y = graph.convolution(field.x, kernel, field.grid, stride, 'same')
    const raised = graph.gelu(normed(graph, y, `${block}.bn1`))
    const x = normed(graph, linear(graph, raised, `${block}.conv_pwl`), `${block}.bn2`)
    return plus(graph, field, { x, grid: strided(field.grid, stride), channels: rowsOf(`${block}.conv_pwl`) })
  }

  /** Depthwise convolutions before the channels are raised, or after it, or both. */
  const inverted = (field: Field<N>, block: string, stride: number): Field<N> => {
    let { x, grid, channels } = field
    if (graph.has(`${block}.dw_start.conv.weight`)) {
      const y = graph.depthwise(x, graph.weight(`${block}.dw_start.conv.weight`), grid, 1)
      x = normed(graph, y, `${block}.dw_start.bn`)
    }
    if (graph.has(`${block}.pw_exp.conv.weight`)) {
      x = graph.gelu(convolved(graph, x, `${block}.pw_exp`))
      channels = rowsOf(`${block}.pw_exp.conv`)
    }
    if (graph.has(`${block}.dw_mid.conv.weight`)) {
      const y = graph.depthwise(x, graph.weight(`${block}.dw_mid.conv.weight`), grid, stride, 'same')
      x = graph.gelu(normed(graph, y, `${block}.dw_mid.bn`))
      grid = strided(grid, stride)
    }
    if (graph.has(`${block}.pw_proj.conv.weight`)) {
      x = convolved(graph, x, `${block}.pw_proj`)
      channels = rowsOf(`${block}.pw_proj.conv`)
    }
    return plus(graph, field, { x: scaled(graph, x, block, channels), grid, channels })
  }

  /** Every place attends to all, or to those of a grid of half the size; the heads share keys and values. */
  const attention = (field: Field<N>, block: string): Field<N> => {
    const y = normed(graph, field.x, `${block}.norm`)
    const heads = rowsOf(`${block}.attn.query.proj`) / rowsOf(`${block}.attn.key.proj`)
    const shared = (name: 'key' | 'value'): N => {
      const part = `${block}.attn.${name}`
      const kernel = `${part}.down_conv.weight`
      const down = graph.has(kernel)
        ? normed(graph, graph.depthwise(y, graph.weight(kernel), field.grid, 2, 'same'), `${part}.norm`)
        : y
      return linear(graph, down, `${part}.proj`)
    }
    const queries = linear(graph, y, `${block}.attn.query.proj`)
    const mixed = graph.attention(queries, shared('key'), shared('value'), heads)
    const channels = rowsOf(`${block}.attn.output.proj`)
    const x = scaled(graph, linear(graph, mixed, `${block}.attn.output.proj`), block, channels)
    return plus(graph, field, { x, grid: field.grid, channels })
  }

  return (field: Field<N>, block: string, stride: number): Field<N> => {
    if (graph.has(`${block}.conv_exp.weight`)) return residual(field, block, stride)
    return graph.has(`${block}.attn.query.proj.weight`) ? attention(field, block) : inverted(field, block, stride)
  }
}

/** The number of blocks of each stage. */
function stagesIn({ tensorNames }: Metadata): number[] {
  const counts: number[] = []
  for (const name of tensorNames) {
    const [, stage, block] = /^v\.blk\.(\d+)\.(\d+)\./.exec(name) ?? []
    if (stage !== undefined) counts[Number(stage)] = Math.max(counts[Number(stage)] ?? 0, Number(block) + 1)
  }
  return counts
}

/** What a block adds to its input, if both have the same shape; else it replaces it. */
function plus<N>(graph: GraphBuilder<N>, before: Field<N>, after: Field<N>): Field<N> {
  const alike = before.channels === after.channels && before.grid.rows === after.grid.rows
  return alike ? { ...after, x: graph.add(after.x, before.x) } : after
}

/** A convolution of single places, and its norm. */
const convolved = <N>(graph: GraphBuilder<N>, x: N, name: string): N =>
  normed(graph, linear(graph, x, `${name}.conv`), `${name}.bn`)

const normed = <N>(graph: GraphBuilder<N>, x: N, name: string): N =>
  graph.has(`${name}.weight`) ? rmsNorm(graph, x, name, epsilon) : x

/** Times the block's factor of each channel. */
function scaled<N>(graph: GraphBuilder<N>, x: N, block: string, channels: number): N {
  const name = `${block}.layer_scale.gamma`
  return graph.has(name) ? graph.multiply(x, vector(graph, name, channels)) : x
}

/** A weight for each channel, which the file has as a column. */
const vector = <N>(graph: GraphBuilder<N>, name: string, channels: number): N =>
  graph.joinRows(graph.weight(name), channels)

/** Every place of a larger grid gets the features of the place under it. */
function enlarged<N>(graph: GraphBuilder<N>, { x, grid }: Field<N>, { rows, columns }: Grid): N {
  const [down, across] = [rows / grid.rows, columns / grid.columns]
  if (down === 1 && across === 1) return x
  return graph.takeRows(x, 'enlarged', () =>
    Int32Array.from(
      { length: rows * columns },
      (_, place) =>
        Math.floor(Math.floor(place / columns) / down) * grid.columns + Math.floor((place % columns) / across),
    ),
  )
}
