import { randomUUID } from 'node:crypto'
import type { MediaConfig } from '../../src/config.ts'
import { loadConfig } from '../../src/load-config.ts'
import type { Resolve } from '../../src/media/fetch/fetch.ts'
import { createMedia } from '../../src/media/index.ts'
import { type Decoded, decoded } from '../support/pixels.ts'

export interface OpenMedia {
  loadOne(
    file: Buffer | string,
    pages?: string | number,
    longestEdge?: number,
    signal?: AbortSignal,
    client?: string,
  ): Promise<Decoded>
  clearCache(): Promise<void>
  close(): Promise<void>
}

/** The media room alone, with real decoders. @param resolve replaces the system's resolver */
export function openMedia(settings: Partial<MediaConfig> = {}, resolve?: Resolve): OpenMedia {
  const media = createMedia({ ...loadConfig({}, {}).media, decoders: 1, ...settings }, undefined, resolve)
  return {
    async loadOne(file, pages, longestEdge = 4096, signal = new AbortController().signal, client = 'one') {
      const url = typeof file === 'string' ? file : `data:;base64,${file.toString('base64')}`
      // Nothing was seen before.
      const asker = { client, isolation: randomUUID() }
      const [loaded] = await media.load([{ kind: 'image', url, param: 'image', pages }], asker, { longestEdge }, signal)
      if (loaded === undefined) throw new Error('nothing was loaded')
      return decoded(loaded)
    },
    clearCache: () => media.clearCache(),
    close: () => media.close(),
  }
}
