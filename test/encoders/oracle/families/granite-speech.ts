import type { TensorPlan } from '../../../support/gguf-file.ts'
import { writeAudio } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { headsOf, sized, soundLayers, soundWidth } from '../tower.ts'
import { linear, matrix, norm } from '../weights.ts'

const [width, bands, letters] = [soundWidth(64), sized(32, 160), sized(40, 348)]
const heads = headsOf(width)
/** Blocks and windows that end at different rows, and distances that no block has. */
const [block, distances, kernel] = sized([24, 30, 7], [200, 512, 15]) as [number, number, number]
const [window, every] = [15, 5] as const

const variant = (name: string, layers: number, features: readonly number[]): Family => ({
  name,
  // libmtmd ends its process for a sound that has no two frames.
  lengths: [330, 16_000, 100_001, 479_840],
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeAudio(projector, {
      ...{ type: 'granite_speech', width, bands, layers, isOther: true, more },
      metadata: {
        'clip.audio.chunk_size': { u32: block },
        'clip.audio.max_pos_emb': { u32: distances },
        'clip.audio.conv_kernel_size': { u32: kernel },
        'clip.audio.projector.window_size': { u32: window },
        'clip.audio.projector.downsample_rate': { u32: every },
        'clip.audio.projector.head_count': { u32: 4 },
        ...(features.length > 0 ? { 'clip.audio.feature_layer': { i32: [...features] } } : {}),
      },
      tensors: [
        ...linear('a.input_projection', bands, width),
        ...linear('a.enc_ctc_out', width, letters),
        ...linear('a.enc_ctc_out_mid', letters, width),
        { name: 'a.proj_query', shape: [width, window / every, 1], fill: { exact: 0.5 } },
        ...norm('a.proj_norm', width),
        ...linear('a.proj_linear', width, textWidth),
        ...[0, 1].flatMap((index) => projectorLayer(index, width * (features.length + 1))),
      ],
    })
  },
})

export const graniteSpeech = variant('granite_speech', soundLayers, [])
/** Granite Speech Plus: the projector sees rows of several layers. */
export const graniteSpeechPlus = variant('granite_speech-plus', 4, [0, 2, 3])

function more(part: (name: string) => string): TensorPlan[] {
  const inner = 2 * width
  return [
    ...['ffn_norm', 'ffn_norm_1', 'ln1', 'ln2', 'norm_conv'].flatMap((name) => norm(part(name), width)),
    ...['attn_q', 'attn_k', 'attn_v'].map((name) => matrix(`${part(name)}.weight`, width, width)),
    ...linear(part('attn_out'), width, width),
    { name: part('attn_rel_pos_emb'), shape: [width / heads, 2 * distances + 1], fill: { exact: 2 } },
    ...['', '_1'].flatMap((end) => [
      ...linear(part(`ffn_up${end}`), width, 2 * width),
      ...linear(part(`ffn_down${end}`), 2 * width, width),
    ]),
    ...linear(part('conv_pw1'), width, 2 * inner),
    { name: part('conv_dw.weight'), shape: [kernel, inner], fill: { exact: 0.3 } },
    ...norm(part('conv_norm'), inner),
    ...linear(part('conv_pw2'), inner, width),
  ]
}

function projectorLayer(index: number, seen: number): TensorPlan[] {
  const part = (name: string) => `a.proj_blk.${index}.${name}`
  return [
    ...['self_attn_norm', 'cross_attn_norm', 'ffn_norm'].flatMap((name) => norm(part(name), width)),
    ...['self_attn', 'cross_attn'].flatMap((kind) =>
      ['q', 'k', 'v', 'out'].flatMap((end) =>
        linear(part(`${kind}_${end}`), kind === 'cross_attn' && 'kv'.includes(end) ? seen : width, width),
      ),
    ),
    ...linear(part('ffn_up'), width, 96),
    ...linear(part('ffn_down'), 96, width),
  ]
}
