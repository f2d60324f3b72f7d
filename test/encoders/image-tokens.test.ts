import { describe, expect, it } from 'vitest'
import { type ImageArchitecture, imageFamilies, tilesOf, tokensOf } from '../../src/encoders/index.ts'
import { alignedSize } from '../../src/encoders/preprocess/resize.ts'
import { catalogue } from '../../src/models/index.ts'
import { textOf } from '../docs/pages.ts'
import { knownModels } from './image-tokens/models.ts'
import { imageTokensPage, usualSizes } from './image-tokens/page.ts'

async function open(title: string): Promise<ImageArchitecture> {
  const model = knownModels.find((known) => known.title === title)
  if (model === undefined) throw new Error(`no model ${title}`)
  return await model.open()
}

/** Without the marks around them. */
const embeddings = (...[plan, ...of]: [ImageArchitecture['plan'], ...Parameters<ImageArchitecture['plan']>]): number =>
  tilesOf(plan(...of)).reduce((sum, { tokens }) => sum + tokens, 0)

describe('docs/image-tokens.md', () => {
  it('is what `npm run tokens` writes', async () => {
    expect(textOf('docs/image-tokens.md')).toBe(await imageTokensPage())
  })

  it('has every family of the registry, and every model of the catalogue whose family it is', () => {
    const types = imageFamilies.flatMap((family) => family.types)
    expect([...new Set(knownModels.flatMap((model) => model.types))].sort()).toEqual([...types].sort())
    const supported = catalogue.filter(({ sees }) => sees !== null && types.includes(sees))
    for (const { id, sees } of supported)
      expect(
        knownModels.filter(({ ids, types }) => ids.includes(id) && sees !== null && types.includes(sees)),
        id,
      ).toHaveLength(1)
    expect(knownModels.flatMap(({ ids }) => ids)).toHaveLength(supported.length)
  })
})

describe('families that share the rows of a model', () => {
  const shared = knownModels.filter(({ types }) => types.length > 1)
  it.each(shared)('read images alike: $title', async ({ types, open }) => {
    const sizes = usualSizes.map(([width, height]) => ({ width, height }))
    const counts = types.map(async (type) => {
      const { plan } = await open(type)
      return sizes.flatMap((size) => (['low', 'auto', 'high'] as const).map((detail) => tokensOf(plan(size, detail))))
    })
    const [first, ...others] = await Promise.all(counts)
    for (const other of others) expect(other).toEqual(first)
  })
})

describe("the tokens of Qwen2.5-VL's images", () => {
  /** Fireworks' table of what images cost: squares of 28 x 28 pixels. */
  const published = [
    [336, 336, 144],
    [672, 672, 576],
    [1024, 1024, 1369],
    [1280, 720, 1196],
    // The table has 2,769 here, which is 71 x 39. It is wrong: 1920 / 28 = 68.57 and 1080 / 28 = 38.57, and 69 x 39 = 2,691.
    [1920, 1080, 2691],
    [2560, 1440, 4641],
    [3840, 2160, 10549],
  ] as const
  /** llama.cpp's limit. */
  const most = 4096

  it.each(published.filter(([, , tokens]) => tokens <= most))(
    'are those that Fireworks publishes: %i x %i, %i',
    async (width, height, tokens) => {
      const { plan } = await open('Qwen2-VL, Qwen2.5-VL and Omni')
      expect(embeddings(plan, { width, height }, 'high')).toBe(tokens)
    },
  )

  it.each(published)('are whole squares of 28 pixels, each edge rounded: %i x %i, %i', (width, height, tokens) => {
    const size = alignedSize({ width, height }, 28, 8 * 28 ** 2, Number.POSITIVE_INFINITY)
    expect((size.width / 28) * (size.height / 28)).toBe(tokens)
  })

  it.each(published.filter(([, , tokens]) => tokens > most))(
    'are at most 4,096, in the same aspect: %i x %i instead of %i',
    async (width, height) => {
      const { plan } = await open('Qwen2-VL, Qwen2.5-VL and Omni')
      const [tile] = tilesOf(plan({ width, height }, 'high'))
      const { rows = 0, columns = 0 } = tile?.places ?? {}
      // 16:9, as far as whole squares allow.
      expect([columns, rows, tile?.tokens]).toEqual([85, 48, 85 * 48])
    },
  )
})

describe('a tile', () => {
  it.each([
    // `mm_tokens_per_image` of config.json
    ['Gemma 3', 256],
    // `image_seq_len` of processor_config.json
    ['SmolVLM 256M, 500M; Granite Docling', 64],
    ['SmolVLM 2.2B', 81],
    // `image_feature_size` of preprocessor_config.json
    ['MiniCPM-V 2.6', 64],
    // `max_image_tokens` of processor_config.json
    ['LFM2-VL', 256],
  ] as const)("of %s has the %i tokens of the maker's configuration", async (title, tokens) => {
    const { plan } = await open(title)
    const tiles = tilesOf(plan({ width: 2048, height: 2048 }, 'high'))
    expect(tiles.length).toBeGreaterThan(title === 'Gemma 3' ? 0 : 1)
    expect(new Set(tiles.map((tile) => tile.tokens))).toEqual(new Set([tokens]))
  })
})
