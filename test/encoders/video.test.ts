import { afterAll, describe, expect, it } from 'vitest'
import {
  needImageArchitecture,
  openImageEncoder,
  planWithin,
  type Raster,
  type Tile,
  tilesOf,
} from '../../src/encoders/index.ts'
import { glm4vOf } from './oracle/families/glm4v.ts'
import { families } from './oracle/families.ts'
import { openFiles } from './oracle/files.ts'
import { testFrames } from './oracle/images.ts'
import { farther, nearest } from './oracle/nearness.ts'
import { toldOf } from './oracle/told.ts'
import { watching } from './oracle/watching.ts'

describe.each(watching)('$name, compared with libmtmd', (family) => {
  const { projector, remove } = openFiles(family)
  afterAll(remove)

  it.each(['onnx', 'ggml'] as const)('joins two frames to the same embeddings in %s', async (runtime) => {
    const encoder = await openImageEncoder(projector, { runtime, precision: 'fp32', threads: 1 })
    const { architecture } = encoder
    expect(architecture.framesPerTile).toBe(2)
    let nearness = nearest
    for (const { size, layout } of toldOf(family.name)) {
      const [width, height] = size
      const frames = testFrames(width, height).map((rgb): Raster => ({ width, height, rgb }))
      const plan = architecture.plan({ width, height }, 'high', { frame: true })
      const [tile, ...others] = tilesOf(plan)
      const [told, ...more] = layout.filter((part) => !('text' in part))
      if (tile === undefined || told === undefined || !('rows' in told)) throw new Error('no tile')
      expect([tile.tokens, others.length, more.length]).toEqual([told.tokens, 0, 0])
      const scaled = frames.flatMap((frame) => architecture.scale(frame, plan))
      nearness = farther(nearness, await encoder.encode(scaled, tile, 1), architecture.width, told)

      // An image is two equal frames, and so is the last frame of an odd number.
      const still = tilesOf(architecture.plan({ width, height }, 'high'))
      const alone = await encoder.encode(scaled.slice(0, 1), still[0] ?? tile, 1)
      expect(await encoder.encode(scaled.slice(0, 1), tile, 1)).toEqual(alone)
    }
    await encoder.close()
    expect(nearness.difference).toBeLessThan(0.02)
    expect(nearness.cosine).toBeGreaterThan(0.9999)
  })
})

// libmtmd encodes each of its frames by itself.
describe.each([0, 1] as const)('GLM-4V, if its convolution sees frame %i of two only', (seen) => {
  const { projector, remove } = openFiles(glm4vOf(seen))
  afterAll(remove)

  it.each(['onnx', 'ggml'] as const)('joins two frames to the embeddings of that one in %s', async (runtime) => {
    const encoder = await openImageEncoder(projector, { runtime, precision: 'fp32', threads: 1 })
    const { architecture } = encoder
    expect(architecture.framesPerTile).toBe(2)
    const size = { width: 100, height: 64 }
    const frames = testFrames(size.width, size.height).map((rgb): Raster => ({ ...size, rgb }))
    const pair = architecture.plan(size, 'high', { frame: true })
    const still = architecture.plan(size, 'high')
    const encoded = (rasters: readonly Raster[], plan: typeof pair) =>
      encoder.encode(
        rasters.flatMap((raster) => architecture.scale(raster, plan)),
        tilesOf(plan)[0] as Tile,
        1,
      )
    const [first, last] = [await encoded(frames.slice(0, 1), still), await encoded(frames.slice(1), still)]
    expect(first).not.toEqual(last)
    expect(await encoded(frames, pair)).toEqual([first, last][seen])
    expect(await encoded(frames.slice(1), pair)).toEqual(last)
    await encoder.close()
  })
})

describe.each(families)('a frame of a video for $name', (family) => {
  const { projector, remove } = openFiles(family)
  afterAll(remove)

  it('is one tile, whatever its size and detail', async () => {
    const architecture = await needImageArchitecture(projector)
    for (const detail of ['low', 'auto', 'high'] as const)
      for (const size of [
        { width: 640, height: 360 },
        { width: 1920, height: 1080 },
      ])
        for (const bounds of [{ frame: true }, { frame: true, mostTokens: 2000 }])
          expect(tilesOf(planWithin(architecture, size, detail, bounds)).length).toBe(1)
  })
})
