import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/load-config.ts'
import { dataUrl } from '../support/images.ts'
import { inputs, shortRun } from '../support/long.ts'
import { likeTone, missingEncoder, prepare, seconds, sounds } from './recordings.ts'

type MediaRoom = typeof import('../../src/media/index.ts')

const missing = missingEncoder()
const root = fileURLToPath(new URL('../../', import.meta.url))
let folder: string
let make: ReturnType<typeof prepare>
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/oriel-fallbacks-`)
  if (!missing) make = prepare(path.join(folder, 'files'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const rooms = new Map<string, Promise<MediaRoom>>()
/** Made once. */
function roomWithout(packages: readonly string[]): Promise<MediaRoom> {
  const key = packages.join()
  const room = rooms.get(key) ?? copyWithout(packages)
  rooms.set(key, room)
  return room
}

/** The media room of a copy of the sources whose `node_modules` lacks packages. */
async function copyWithout(packages: readonly string[]): Promise<MediaRoom> {
  const copy = mkdtempSync(path.join(folder, 'copy-'))
  cpSync(path.join(root, 'src'), path.join(copy, 'src'), { recursive: true })
  cpSync(path.join(root, 'package.json'), path.join(copy, 'package.json'))
  mkdirSync(path.join(copy, 'node_modules'))
  for (const name of readdirSync(path.join(root, 'node_modules')))
    if (!packages.includes(name))
      symlinkSync(path.join(root, 'node_modules', name), path.join(copy, 'node_modules', name))
  return (await import(pathToFileURL(path.join(copy, 'src/media/index.ts')).href)) as MediaRoom
}

const packages = ['mediabunny', 'node-webcodecs']
const codecs = [
  ...['opus.ogg', 'vorbis.ogg', 'mp3.mp3', 'flac.flac', 'flac.ogg'],
  ...inputs([], ['opus-speech.ogg', 'mp3-22050-Hz-mono.mp3', 'opus.webm']),
]
const others = [
  { name: 'flac.mkv', args: '-vn -c:a flac' },
  { name: 'mp3.mp4', args: '-vn -c:a libmp3lame' },
  { name: 'opus.mp4', args: '-vn -c:a libopus' },
  { name: 'vorbis.webm', args: '-vn -c:a libvorbis' },
  ...['libopus -mapping_family 1', 'libvorbis', 'flac'].map((codec, at) => ({
    name: `5.1-${at}.mkv`,
    // The tone is heard in the middle only.
    args: `-vn -af pan=5.1|c2=c0 -c:a ${codec}`,
  })),
]
const specimens: readonly { name: string; args: string; late?: number }[] = [
  ...sounds.filter(({ name }) => codecs.includes(name)),
  ...inputs(others.slice(-2, -1), others),
]

describe.skipIf(missing || shortRun)('the samples of Opus, MP3, FLAC and Vorbis', () => {
  const levels = [
    { by: 'node-webcodecs', without: [], ffmpeg: false },
    { by: 'WebAssembly, where node-webcodecs and ffmpeg are missing', without: ['node-webcodecs'], ffmpeg: false },
    { by: 'ffmpeg, where both packages are missing', without: packages, ffmpeg: true },
  ] as const
  it.for(levels)('by $by', async ({ without, ffmpeg }) => {
    const { load, close } = await opened(without, ffmpeg)
    const found: string[] = []
    for (const { name, args, late = 10 } of specimens) {
      const sound = await load(make(name, args))
      const like = likeTone(await sound.decode(), 0.12)
      if (Math.abs(sound.seconds - seconds) > 0.15) found.push(`${name}: ${sound.seconds} s`)
      if (like.best < 0.99) found.push(`${name}: ${like.best}`)
      if (Math.abs(like.late) * 1000 > late) found.push(`${name}: ${like.late * 1000} ms late`)
    }
    await close()
    expect(found).toEqual([])
  })

  it('end in an error that says what to install, where there is nothing', async () => {
    const refused = { code: 'unsupported_audio', message: expect.stringContaining('Install ffmpeg on the server') }
    const nothing = await opened(packages, false)
    await expect(nothing.load(make('opus.ogg', '-vn -c:a libopus'))).rejects.toMatchObject(refused)
    await nothing.close()
    const wasm = await opened(['node-webcodecs'], false)
    await expect(wasm.load(make('aac.m4a', '-vn -c:a aac'))).rejects.toMatchObject(refused)
    await wasm.close()
    const packed = await opened([], false)
    const unknown = ['speex.ogg', 'ac3.mkv', 'adpcm_ima_wav.wav', 'alac.m4a', 'ac3.ts']
    for (const name of inputs(unknown.slice(0, 3), unknown)) {
      const [codec = ''] = name.split('.')
      const file = make(name, `-vn -c:a ${codec === 'speex' ? 'libspeex -ar 16000' : codec}`)
      await expect(packed.load(file), name).rejects.toMatchObject(refused)
    }
    await packed.close()
  })
})

async function opened(without: readonly string[], ffmpeg: boolean) {
  const { createMedia } = await roomWithout(without)
  const { media: usual } = loadConfig({}, {})
  const media = createMedia({ ...usual, decoders: 1, ffmpeg: ffmpeg ? usual.ffmpeg : '/nowhere/ffmpeg' })
  const load = async (file: Buffer) => {
    const [loaded] = await media.load(
      [{ kind: 'audio', url: dataUrl(file), param: 'audio' }],
      { client: 'one', isolation: 'one' },
      { longestEdge: 1024, sound: true },
      new AbortController().signal,
    )
    if (loaded?.kind !== 'audio') throw new Error('it is no audio')
    return loaded.sound
  }
  return { load, close: () => media.close() }
}
