import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as smallWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { linear, matrix, norm } from '../weights.ts'
import { writeQwen35Decoder } from './qwen35.ts'

/** Heads of the resampler always have a width of 128. */
const textWidth = 128

const specials = ['<image>', '</image>', '<slice>', '</slice>']

export const minicpmv25: Family = { name: 'resampler-2.5', write: (...files) => write(...files, 2, 6) }
export const minicpmv26: Family = { name: 'resampler-2.6', write: (...files) => write(...files, 3, 0) }
export const minicpmv4: Family = { name: 'resampler-4', write: (...files) => write(...files, 5, 8) }

/** @param queries 0 if the file does not have the number, which the version implies */
function write(decoder: string, projector: string, version: number, queries: number): void {
  if (version === 3) writeSmallDecoder(decoder, 'qwen2', { width: textWidth, specials })
  else writeDecoder(decoder, { width: textWidth, specials })
  writeVision(projector, {
    ...{ type: 'resampler', edge: 70, patch: 14 },
    metadata: {
      'clip.minicpmv_version': { i32: version },
      'clip.minicpmv_query_num': { u32: queries },
      'clip.vision.projection_dim': { u32: 0 },
    },
    tensors: [
      ...learnedPositions(70 * 70),
      ...norm('v.post_ln', towerWidth),
      { name: 'resampler.pos_embed_k', shape: [textWidth, 4], fill: { constant: 0 } },
      { name: 'resampler.query', shape: [textWidth, queries || 64], fill: { exact: 1 } },
      matrix('resampler.proj.weight', textWidth, textWidth),
      matrix('resampler.kv.weight', towerWidth, textWidth),
      ...['q', 'k', 'v', 'out'].flatMap((name) => linear(`resampler.attn.${name}`, textWidth, textWidth)),
      ...['q', 'kv', 'post'].flatMap((name) => norm(`resampler.ln_${name}`, textWidth)),
    ],
  })
}

export const minicpmv46: Family = { name: 'minicpmv4_6', write: (...files) => writeMerging(...files, 4) }
export const minicpmv46fine: Family = { name: 'minicpmv4_6-4x', write: (...files) => writeMerging(...files, 2) }

/** @param factor patches along the edge of a square that becomes one embedding */
function writeMerging(decoder: string, projector: string, factor: number): void {
  const joined = 4 * towerWidth
  writeQwen35Decoder(decoder, specials)
  writeVision(projector, {
    ...{ type: 'minicpmv4_6', edge: 112, patch: 14, layers: 3 },
    metadata: {
      'clip.vision.projector.scale_factor': { u32: factor },
      'clip.vision.wa_layer_indexes': { i32: [1] },
    },
    tensors: [
      ...learnedPositions(70 * 70),
      ...norm('v.post_ln', towerWidth),
      ...(factor === 4
        ? [
            ...norm('v.vit_merger.ln1', towerWidth),
            ...['attn_q', 'attn_k', 'attn_v', 'attn_out'].flatMap((name) =>
              linear(`v.vit_merger.${name}`, towerWidth, towerWidth),
            ),
            ...norm('v.vit_merger.ds_ln', joined),
            ...linear('v.vit_merger.ds_ffn_up', joined, joined),
            ...linear('v.vit_merger.ds_ffn_down', joined, towerWidth),
          ]
        : []),
      ...norm('mm.input_norm', joined),
      ...linear('mm.up', joined, joined),
      ...linear('mm.down', joined, smallWidth),
    ],
  })
}
