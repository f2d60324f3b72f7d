import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ImageArchitecture, needImageArchitecture } from '../../../src/encoders/index.ts'
import type { TensorPlan, Value } from '../../support/gguf-file.ts'
import { learnedPositions, writeVision } from '../oracle/vision-file.ts'
import { bias, matrix } from '../oracle/weights.ts'

/**
 * What the vision file of a well-known model says about sizes. The numbers are those of the maker's `config.json` and
 * `preprocessor_config.json` on the hub, under the keys that llama.cpp's conversion (`conversion/*.py` and
 * `tools/mtmd/legacy-models` of the release that Oriel's libraries are built from) writes them.
 */
export interface KnownModel {
  readonly title: string
  /** Its entries in the catalogue. */
  readonly ids: readonly string[]
  /** `clip.projector_type` of its files. Those of several families that read images alike share their rows. */
  readonly types: readonly string[]
  /** @param type one of its types; by default the first */
  open(type?: string): Promise<ImageArchitecture>
}

interface Sizes {
  /** `clip.vision.image_size` */
  edge: number
  /** `clip.vision.patch_size` */
  patch: number
  /** Other metadata. */
  more?: Readonly<Record<string, Value>>
  /** Tensors from whose presence the family tells its models apart. */
  tensors?: readonly TensorPlan[]
}

/** The last tensors of all families, from which the width of embeddings is read. Here it does not matter. */
const last = [
  ...['mm.1', 'mm.2', 'mm.down', 'mm.input_projection', 'mm.model.fc', 'mm.model.mlp.3', 'resampler.proj'].map((name) =>
    matrix(`${name}.weight`, 64, 64),
  ),
  ...['mm.1', 'mm.2', 'mm.merger.fc2', 'mm.model.mb_block.2.block.2.1', 'mm.model.peg.0'].map((name) =>
    bias(`${name}.bias`, 64),
  ),
]

function known(
  title: string,
  types: readonly [string, ...string[]],
  ids: readonly string[],
  { edge, patch, more, tensors = [] }: Sizes,
): KnownModel {
  return {
    title,
    ids,
    types,
    async open(type = types[0]) {
      const folder = mkdtempSync(path.join(tmpdir(), 'oriel-sizes-'))
      try {
        const file = path.join(folder, 'mmproj.gguf')
        const metadata = { 'clip.vision.n_wa_pattern': { u32: 8 }, ...more }
        writeVision(file, { type, edge, patch, metadata, tensors: [...last, ...tensors] })
        return await needImageArchitecture(file)
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  }
}

/** Patches along the edge of a square that becomes one token. */
const joined = (factor: number): Record<string, Value> => ({ 'clip.vision.projector.scale_factor': { u32: factor } })

/** @param tiles of each canvas: `image_grid_pinpoints` has them in pixels */
const canvases = (edge: number, tiles: readonly (readonly [number, number])[]): Record<string, Value> => ({
  'clip.vision.image_grid_pinpoints': { i32: tiles.flat().map((count) => count * edge) },
})

/** Along an edge of 1 to 10 tiles, Granite Vision allows up to so many along the other. */
const graniteCanvases = [10, 5, 3, 2, 2, 1, 1, 1, 1, 1].flatMap((most, at) =>
  Array.from({ length: most }, (_, other) => [at + 1, other + 1] as const),
)

/** `min_pixels` and `max_pixels` of `preprocessor_config.json`. */
const pixels = (least: number, most: number): Record<string, Value> => ({
  'clip.vision.image_min_pixels': { u32: least },
  'clip.vision.image_max_pixels': { u32: most },
})

const tiles = (least: number, most: number): Record<string, Value> => ({
  'clip.vision.preproc_min_tiles': { u32: least },
  'clip.vision.preproc_max_tiles': { u32: most },
})

/** The encoder of Segment Anything in front of another. */
const seeing: Record<string, Value> = {
  'clip.vision.sam.block_count': { u32: 12 },
  'clip.vision.sam.head_count': { u32: 12 },
  'clip.vision.sam.embedding_length': { u32: 768 },
  'clip.vision.window_size': { u32: 14 },
}

export const knownModels: readonly KnownModel[] = [
  known('CogVLM', ['cogvlm'], [], { edge: 490, patch: 14 }),
  known('DeepSeek-OCR', ['deepseekocr'], ['deepseek-ocr'], {
    edge: 1024,
    patch: 16,
    more: { ...seeing, ...tiles(2, 9) },
  }),
  known('DeepSeek-OCR 2', ['deepseekocr2'], [], { edge: 1024, patch: 16, more: { ...seeing, ...tiles(2, 6) } }),
  known('dots.ocr', ['dots_ocr'], ['dots.ocr'], {
    edge: 0,
    patch: 14,
    more: { ...joined(2), ...pixels(3136, 11289600) },
  }),
  known('Gemma 3', ['gemma3'], ['gemma-3-4b', 'gemma-3-12b', 'gemma-3-27b'], { edge: 896, patch: 14 }),
  known('Gemma 3n', ['gemma3nv'], [], { edge: 768, patch: 3 }),
  known('Gemma 4', ['gemma4v', 'gemma4uv'], ['gemma-4-e2b', 'gemma-4-e4b', 'gemma-4-26b-a4b', 'gemma-4-31b'], {
    edge: 224,
    patch: 16,
  }),
  known('GLM-4.6V Flash', ['glm4v'], ['glm-4.6v-flash'], {
    ...{ edge: 336, patch: 14 },
    tensors: learnedPositions(24 ** 2),
  }),
  known('GLM-OCR', ['glm4v'], [], { edge: 336, patch: 14 }),
  known('HunyuanOCR', ['hunyuanvl'], ['hunyuanocr'], { edge: 2048, patch: 16, more: pixels(262144, 4194304) }),
  known(
    'SmolVLM 256M, 500M; Granite Docling',
    ['idefics3'],
    ['smolvlm-256m', 'smolvlm-500m', 'smolvlm2-256m', 'smolvlm2-500m', 'granite-docling-258m'],
    { edge: 512, patch: 16, more: { ...joined(4), 'clip.vision.preproc_image_size': { u32: 2048 } } },
  ),
  known('SmolVLM 2.2B', ['idefics3'], ['smolvlm', 'smolvlm2-2.2b'], {
    ...{ edge: 384, patch: 14 },
    more: { ...joined(3), 'clip.vision.preproc_image_size': { u32: 1536 } },
  }),
  known(
    'InternVL 2.5, 3',
    ['internvl'],
    ['internvl2.5-1b', 'internvl2.5-4b', 'internvl3-1b', 'internvl3-2b', 'internvl3-8b', 'internvl3-14b'],
    {
      ...{ edge: 448, patch: 14 },
      more: { ...joined(2), ...tiles(1, 12) },
    },
  ),
  known('Janus-Pro', ['janus_pro'], [], { edge: 384, patch: 16 }),
  known('Kimi-VL', ['kimivl'], ['kimi-vl-a3b-thinking'], {
    ...{ edge: 896, patch: 14 },
    more: joined(2),
  }),
  known('Kimi K2.5', ['kimik25'], [], {
    edge: 896,
    patch: 14,
    more: { ...joined(2), ...pixels(8 * 196, 16384 * 196) },
  }),
  known('LFM2-VL', ['lfm2'], ['lfm2-vl-450m'], {
    ...{ edge: 256, patch: 16 },
    more: joined(2),
  }),
  known('LightOnOCR 1B', ['lightonocr'], ['lightonocr-1b'], {
    ...{ edge: 1540, patch: 14 },
    more: { 'clip.vision.spatial_merge_size': { u32: 2 } },
  }),
  known('Llama 4 Scout', ['llama4'], ['llama-4-scout'], {
    ...{ edge: 336, patch: 14 },
    more: joined(2),
  }),
  known('LLaVA 1.5', ['mlp'], ['llava-1.5-7b'], { edge: 336, patch: 14 }),
  known('LLaVA 1.6', ['mlp'], ['llava-1.6-mistral-7b'], {
    ...{ edge: 336, patch: 14 },
    more: canvases(336, [
      [1, 2],
      [2, 1],
      [2, 2],
      [3, 1],
      [1, 3],
    ]),
  }),
  known('Granite Vision 3.2', ['mlp'], ['granite-vision-3.2-2b'], {
    ...{ edge: 384, patch: 14 },
    more: canvases(384, graniteCanvases),
  }),
  // Its list of canvases is taken to be that of Granite Vision 3.2.
  known('Granite Vision 4.1', ['granite4_vision'], [], {
    ...{ edge: 384, patch: 16 },
    more: {
      ...canvases(384, graniteCanvases),
      'clip.vision.feature_layer': { i32: [0] },
      'clip.vision.projector.window_side': { u32: 8 },
      'clip.vision.projector.query_side': { u32: 4 },
    },
    tensors: [matrix('v.proj_blk.0.linear.weight', 64, 64)],
  }),
  // Its limits are taken to be those of Qwen2-VL, from which it is made.
  known('MiMo-V2.5', ['mimovl'], [], {
    ...{ edge: 560, patch: 16 },
    more: {
      ...pixels(3136, 12845056),
      'clip.vision.window_size': { u32: 128 },
      'clip.vision.wa_pattern_mode': { i32: [-1, 0] },
    },
  }),
  known('MiniCPM-V 2.6', ['resampler'], ['minicpm-v-2.6'], {
    ...{ edge: 448, patch: 14 },
    more: { 'clip.minicpmv_version': { i32: 3 }, 'clip.minicpmv_query_num': { u32: 64 } },
  }),
  known('MiniCPM-V 4.6', ['minicpmv4_6'], [], { edge: 448, patch: 14, more: joined(4) }),
  known('MiniMax M3', ['minimax_m3'], [], { edge: 672, patch: 14 }),
  known('MobileVLM', ['ldp', 'ldpv2'], ['mobilevlm-3b'], { edge: 336, patch: 14 }),
  known('Muse Glimmer', ['muse-glimmer'], [], { edge: 896, patch: 14, tensors: learnedPositions(32 ** 2) }),
  known('Nemotron Nano 2 VL', ['nemotron_v2_vl'], [], { edge: 512, patch: 16, more: joined(2) }),
  known('PaddleOCR-VL', ['paddleocr'], [], { edge: 1680, patch: 14, more: pixels(147384, 2822400) }),
  known('Phi-4 Reasoning Vision', ['phi4'], [], { edge: 256, patch: 16, more: pixels(65536, 921600) }),
  known('Pixtral 12B', ['pixtral'], ['pixtral-12b'], { edge: 1024, patch: 16 }),
  known('Mistral Small 3.1', ['pixtral'], ['mistral-small-3.1-24b'], {
    ...{ edge: 1540, patch: 14 },
    more: { 'clip.vision.spatial_merge_size': { u32: 2 } },
  }),
  {
    title: 'Pocket',
    ids: [],
    types: ['pixtral'],
    open: () =>
      needImageArchitecture(fileURLToPath(new URL('../../../models/pocket/mmproj-pocket.gguf', import.meta.url))),
  },
  known(
    'Qwen2-VL, Qwen2.5-VL and Omni',
    ['qwen2vl_merger', 'qwen2.5vl_merger', 'qwen2.5o'],
    [
      'qwen2-vl-2b',
      'qwen2-vl-7b',
      'qwen2.5-vl-3b',
      'qwen2.5-vl-7b',
      'qwen2.5-vl-32b',
      'qwen2.5-vl-72b',
      'qwen2.5-omni-3b',
      'qwen2.5-omni-7b',
    ],
    { edge: 560, patch: 14 },
  ),
  // The limits are those of Qwen2-VL, whose processor it has.
  known('EXAONE 4.5', ['exaone4_5'], [], { edge: 560, patch: 14, more: pixels(3136, 12845056) }),
  known(
    'Qwen3-VL and Qwen3.5',
    ['qwen3vl_merger'],
    ['qwen3-vl-2b', 'qwen3.5-0.8b', 'qwen3.5-4b', 'qwen3.5-9b', 'qwen3-omni-30b-a3b'],
    {
      ...{ edge: 768, patch: 16 },
      more: { 'clip.vision.spatial_merge_size': { u32: 2 } },
    },
  ),
  known('Step3-VL 10B', ['step3vl'], [], {
    ...{ edge: 728, patch: 14 },
    more: { ...joined(4), 'clip.vision.preproc_image_size': { u32: 3024 } },
  }),
  known('Youtu-VL', ['youtuvl'], [], { edge: 560, patch: 16, more: { 'clip.vision.window_size': { u32: 256 } } }),
]
