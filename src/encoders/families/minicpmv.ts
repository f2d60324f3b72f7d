import { unsupportedModel } from '../../errors.ts'
import { type GraphBuilder, type Grid, layerNorm, linear } from '../graph/builder.ts'
import { siglip } from '../graph/transformer.ts'
import type { Detail, ImageFamily, ImagePlan, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bicubic, resize, resizeInto, type Size } from '../preprocess/resize.ts'
import { type Slices, slicesOf, withinSquare } from '../preprocess/slices.ts'
import { autoTiles } from '../preprocess/tiling.ts'

/** The maximum number of slices, in addition to the overview, by `detail`. */
const mostSlices: Readonly<Record<Detail, number>> = { low: 0, auto: autoTiles, high: 9 }

/** Learned positions along each edge. The patches of a slice are spread over them. */
const buckets = 70

/** Numbers in one head of the resampler. */
const headWidth = 128

/** Versions that mark slices as 2.6 does. */
const sinceTwoSix: readonly number[] = [3, 4, 5, 6, 100045]

/**
 * MiniCPM-V 2.5, 2.6, 4, 4.5 and o: an image is cut into slices, preceded by an overview. SigLIP reads each in its own
 * aspect, and a resampler, whose learned queries attend to the patches, makes the same number of embeddings of each. After
 * llama.cpp's tools/mtmd (models/minicpmv.cpp, `MTMD_SLICE_TMPL_MINICPMV_2_5` and `_2_6` in mtmd.cpp).
 */
export const minicpmv: ImageFamily = {
  types: ['resampler'],
  width: (metadata) => metadata.needTensor('resampler.proj.weight').rows,

  open(metadata, width) {
    const version = metadata.number('clip.minicpmv_version', 0) || 2
    if (version !== 2 && !sinceTwoSix.includes(version))
      throw unsupportedModel(`Version ${version} of MiniCPM-V is not supported.`)
    const wrapped = version === 2
    const tower = siglip(metadata)
    const reader = patchReader(metadata)
    const { edge } = tower
    const tokens = metadata.number('clip.minicpmv_query_num', 0) || (wrapped ? 96 : 64)
    const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')

    const tile = (image: number, x: number, y: number, size: Size): Tile => ({ image, x, y, size, tokens })

    const planned = (original: Size, detail: Detail): { overview: Size; slices: Slices | null } => {
      if (original.width <= edge && original.height <= edge)
        return { overview: { width: edge, height: edge }, slices: null }
      const most = mostSlices[detail]
      return {
        overview: withinSquare(original, edge, reader.patch, false),
        slices: most === 0 ? null : slicesOf(original, edge, reader.patch, most),
      }
    }

    const grid = ({ size }: Tile): Grid => ({ rows: size.height / reader.patch, columns: size.width / reader.patch })

    return {
      longestEdge: edge * mostSlices.high,

      plan(original: Size, detail: Detail): ImagePlan {
        const { overview, slices } = planned(original, detail)
        const layout: (string | Tile)[] = ['<image>', tile(0, 0, 0, overview), '</image>']
        const name = `${detail} ${overview.width}x${overview.height}`
        if (slices === null) return { original, detail, name, layout }
        const { columns, rows, size } = slices
        const [before, after] = wrapped ? ['<image>', '</image>'] : ['<slice>', '</slice>']
        if (wrapped) layout.push('<slice>')
        for (let row = 0; row < rows; row++) {
          if (row > 0) layout.push('\n')
          for (let column = 0; column < columns; column++)
            layout.push(before, tile(1, column * size.width, row * size.height, size), after)
        }
        if (wrapped) layout.push('</slice>')
        return { original, detail, name: `${name} ${columns}x${rows} of ${size.width}x${size.height}`, layout }
      },

      scale(image, { original, detail }) {
        const { overview, slices } = planned(original, detail)
        const small = resize(image, overview, bicubic)
        if (slices === null) return [small]
        const { columns, rows, size } = slices
        return [small, resizeInto(image, { width: size.width * columns, height: size.height * rows }, bicubic)]
      },

      prepare: reader.read,
      grid,

      build<N>(graph: GraphBuilder<N>, part: Tile): N {
        const { rows, columns } = grid(part)
        const patches = graph.input(rows * columns, 3 * reader.patch * reader.patch)
        const positions = graph.takeRows(graph.weight('v.position_embd.weight'), 'buckets', bucketsOf)
        const seen = linear(graph, tower.build(graph, patches, positions), 'resampler.kv')
        const values = layerNorm(graph, seen, 'resampler.ln_kv', epsilon)
        const places = graph.table('waves', width, (of) => waves(of, width))
        const keys = graph.add(values, places)
        const queries = layerNorm(graph, graph.weight('resampler.query'), 'resampler.ln_q', epsilon)
        const mixed = graph.attention(
          linear(graph, queries, 'resampler.attn.q'),
          linear(graph, keys, 'resampler.attn.k'),
          linear(graph, values, 'resampler.attn.v'),
          width / headWidth,
        )
        const out = layerNorm(graph, linear(graph, mixed, 'resampler.attn.out'), 'resampler.ln_post', epsilon)
        return linear(graph, out, 'resampler.proj')
      },
    }
  },
}

/** The learned position of each patch. */
function bucketsOf({ rows, columns }: Grid): Int32Array {
  const bucket = (at: number, of: number) => Math.floor((buckets * at) / of)
  return Int32Array.from(
    { length: rows * columns },
    (_, patch) => bucket(Math.floor(patch / columns), rows) * buckets + bucket(patch % columns, columns),
  )
}

/** Sines and cosines of each patch's column, then of its row: `[patches, width]` */
function waves({ rows, columns }: Grid, width: number): Float32Array {
  const f = Math.fround
  const quarter = width / 4
  const frequencies = Float32Array.from({ length: quarter }, (_, at) => 1 / f(10000 ** f(at / quarter)))
  const out = new Float32Array(rows * columns * width)
  for (let patch = 0; patch < rows * columns; patch++)
    [patch % columns, Math.floor(patch / columns)].forEach((place, axis) => {
      frequencies.forEach((frequency, at) => {
        const angle = f(frequency * place)
        const to = patch * width + axis * 2 * quarter + at
        out[to] = Math.sin(angle)
        out[to + quarter] = Math.cos(angle)
      })
    })
  return out
}
