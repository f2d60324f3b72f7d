import { loadConfig, type MediaConfig } from '../../src/config.ts'
import { createMedia } from '../../src/media/index.ts'
import type { Loaded } from '../../src/media/picture.ts'

export interface OpenMedia {
  loadOne(file: Buffer | string, pages?: string | number, longestEdge?: number): Promise<Loaded>
  close(): Promise<void>
}

/** The room alone, with real decoders. */
export function openMedia(settings: Partial<MediaConfig> = {}): OpenMedia {
  const media = createMedia({ ...loadConfig({}, {}).media, decoders: 1, ...settings })
  return {
    async loadOne(file, pages, longestEdge = 4096) {
      const url = typeof file === 'string' ? file : `data:;base64,${file.toString('base64')}`
      const [loaded] = await media.load([{ url, param: 'picture', pages }], longestEdge, new AbortController().signal)
      if (loaded === undefined) throw new Error('nothing was loaded')
      return loaded
    },
    close: () => media.close(),
  }
}
