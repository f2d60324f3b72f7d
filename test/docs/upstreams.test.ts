import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { fileSchema } from '../../src/config-file.ts'
import { upstreamApis } from '../../src/config-upstreams.ts'
import { recordingFormats } from '../../src/media/index.ts'
import { readableBy } from '../../src/upstreams/readable.ts'
import { settingsFor } from '../upstreams/targets.ts'
import { textOf } from './pages.ts'

const page = textOf('docs/upstreams.md')
const examples = [...page.matchAll(/^```(toml|json)\n([\s\S]*?)^```$/gm)].map(([, language, text = '']) =>
  fileSchema.parse(language === 'toml' ? parse(text) : JSON.parse(text)),
)
const upstreams = examples.flatMap((example) => example.upstreams)

describe('docs/upstreams.md', () => {
  it('has an example of each API, all of which are allowed', () => {
    expect([...new Set(upstreams.map(({ api }) => api))].sort()).toEqual([...upstreamApis].sort())
    expect(examples.flatMap(({ aliases }) => Object.keys(aliases))).toEqual(['gpt-4o', 'vision', 'pocket'])
  })

  it('has all settings of an upstream, with their defaults', () => {
    const [example] = fileSchema.parse({ upstreams: [{ name: 'a', url: 'http://a', api: 'vllm' }] }).upstreams
    const [, section = ''] = page.split('## Settings of an upstream')
    const [settings = ''] = section.split('\n## ')
    const rows = [...settings.matchAll(/^\| `(\w+)` +\|.*\| ([^|]+?) +\|$/gm)].map(([, name = '', byDefault = '']) => [
      name,
      byDefault.replaceAll('`', ''),
    ])
    expect(rows.map(([name]) => name)).toEqual(Object.keys(example ?? {}))
    for (const [name, byDefault = ''] of rows)
      if (/^(\d+|true|false)$/.test(byDefault)) expect(Object(example)[String(name)]).toBe(JSON.parse(byDefault))
  })

  it('has what each API reads', () => {
    const size = (bytes: number) => `${Number((bytes / 1e6).toFixed(1))} MB`
    const reads = (formats: readonly string[] | undefined) =>
      formats === undefined ? 'none' : formats.length === recordingFormats.length ? 'all' : formats.join(', ')
    for (const api of upstreamApis) {
      const { image, video, audio, mostBytesTogether, manyImages } = readableBy(
        { ...settingsFor('http://a'), api },
        'model',
      )
      const limits = [
        image.mostBytes < Number.MAX_SAFE_INTEGER ? `${size(image.mostBytes)} an image` : '',
        image.longestEdge === null ? '' : `${image.longestEdge} pixels an image`,
        manyImages === null ? '' : `${manyImages.longestEdge} pixels above ${manyImages.above} images`,
        mostBytesTogether < Number.MAX_SAFE_INTEGER ? `${size(mostBytesTogether)} together` : '',
      ].filter((limit) => limit !== '')
      const cells = [
        `\`${api}\``,
        reads(image.formats),
        reads(video?.formats),
        reads(audio?.formats),
        limits.join('; ') || 'none',
      ]
      const rows = page.replaceAll(/ +\|/g, ' |')
      expect(rows).toContain(`| ${cells.join(' | ')} |`)
    }
  })
})
