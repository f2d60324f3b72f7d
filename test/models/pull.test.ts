import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { audioFamilies, imageFamilies } from '../../src/encoders/index.ts'
import { loadConfig } from '../../src/load-config.ts'
import { withLock } from '../../src/lock.ts'
import { addToSnapshot } from '../../src/models/hub/cache.ts'
import { createLibrary, type PullEvent } from '../../src/models/index.ts'
import { commit, FakeHub, type FakeRepo } from '../support/hub.ts'
import { shortRun } from '../support/long.ts'
import { pocketFolder } from '../support/pocket.ts'

const decoder = await readFile(`${pocketFolder}pocket.gguf`)
const vision = await readFile(`${pocketFolder}mmproj-pocket.gguf`)
const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

const repo = 'someone/Pocket-GGUF'
const pocket: FakeRepo = {
  files: {
    'README.md': { content: Buffer.from('# Pocket') },
    'Pocket-Q8_0.gguf': { content: decoder },
    'Pocket-F16.gguf': { content: Buffer.concat([decoder, Buffer.alloc(8)]) },
    'mmproj-Pocket-F16.gguf': { content: vision },
  },
}

let home: string
let hub: FakeHub
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'oriel-pull-'))
})
afterEach(async () => {
  await hub.close()
  await rm(home, { recursive: true })
})

const libraryOf = (env: NodeJS.ProcessEnv = {}, images = imageFamilies) => {
  const places = { HF_ENDPOINT: hub.url, HF_HOME: home, ORIEL_MODELS_DIR: path.join(home, 'own') }
  return createLibrary(loadConfig({}, { ...places, ...env }).models, { images, audio: audioFamilies })
}

interface Pulling {
  events?: PullEvent[]
  signal?: AbortSignal
  anyway?: boolean
  env?: NodeJS.ProcessEnv
  families?: typeof imageFamilies
}

const pulling = (name: string, { events = [], signal, anyway = false, env, families }: Pulling = {}) =>
  libraryOf(env, families).pull(name, {
    anyway,
    signal: signal ?? new AbortController().signal,
    onEvent: (event) => events.push(event),
  })

const cached = (...names: string[]) => path.join(home, 'hub', 'models--someone--Pocket-GGUF', ...names)

describe('a pull', () => {
  it("stores a model in the hub's cache as huggingface_hub does, and the library has it", async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    const card = await pulling(repo)
    expect(card).toMatchObject({ id: `${repo}:Q8_0`, title: 'Pocket', bytes: decoder.length + vision.length })
    const pointer = cached('snapshots', commit, 'Pocket-Q8_0.gguf')
    expect(await readlink(pointer)).toBe(path.join('..', '..', 'blobs', sha256(decoder)))
    expect(sha256(await readFile(pointer))).toBe(sha256(decoder))
    expect(await readFile(cached('refs', 'main'), 'utf8')).toBe(commit)
    expect((await readdir(cached('blobs'))).sort()).toEqual([sha256(decoder), sha256(vision)].sort())
    expect(await libraryOf().find(repo)).toEqual(card)
    // In parts of a megabyte, four of them at a time.
    expect(hub.requests.filter((line) => line.startsWith('GET files bytes=')).length).toBeGreaterThan(4)
  })

  it('takes the requested quantization, and names those of the repository', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    expect(await pulling(`${repo}:f16`)).toMatchObject({ id: `${repo}:F16` })
    await expect(pulling(`${repo}:Q2_K`)).rejects.toMatchObject({
      kind: 'not_found',
      message: `${repo} has no Q2_K. It has: Q8_0, F16.`,
    })
    await expect(pulling(`${repo}/other.gguf`)).rejects.toThrow('It has: Pocket-Q8_0.gguf, Pocket-F16.gguf')
    expect(await pulling(`${hub.url}/${repo}/resolve/main/Pocket-Q8_0.gguf`)).toMatchObject({ id: `${repo}:Q8_0` })
  })

  it('uses the files of the cache, and downloads nothing twice', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    // As huggingface_hub stores it.
    await mkdir(cached('blobs'), { recursive: true })
    await mkdir(cached('snapshots', commit), { recursive: true })
    await writeFile(cached('blobs', sha256(vision)), vision)
    await symlink(`../../blobs/${sha256(vision)}`, cached('snapshots', commit, 'mmproj-Pocket-F16.gguf'))
    await pulling(repo)
    // The header of the vision file is read before the download.
    expect(hub.sent).toBeLessThan(decoder.length + (1 << 20) + 1)
    const before = hub.sent
    await pulling(repo)
    expect(hub.sent - before).toBeLessThan((1 << 20) + 1)
  })

  it('resumes after an interruption', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    hub.trouble.pace = 5
    const stop = new AbortController()
    const events: PullEvent[] = []
    const first = pulling(repo, { signal: stop.signal, events })
    const until = setInterval(() => {
      const last = events.at(-1)
      if (last?.type === 'bytes' && last.done > 2_000_000) stop.abort()
    }, 5)
    await expect(first).rejects.toMatchObject({
      kind: 'cancelled',
      message: 'Stopped. The downloaded part is kept: repeat the command to resume.',
    })
    clearInterval(until)
    const before = hub.sent
    hub.trouble.pace = 0
    await pulling(repo)
    expect(hub.sent - before).toBeLessThan(decoder.length + vision.length - 500_000)
    expect(sha256(await readFile(cached('blobs', sha256(decoder))))).toBe(sha256(decoder))
  })

  it('retries after a busy hub and lost connections, and reports it', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    hub.trouble.busy.push({ status: 429, retryAfter: '0.2' }, { status: 503 })
    hub.trouble.cuts.push(Number.POSITIVE_INFINITY, 100_000, 300_001, 0, 7)
    const events: PullEvent[] = []
    await pulling(repo, { events })
    const retries = events.flatMap((event) => (event.type === 'retry' ? [event] : []))
    expect(retries[0]).toEqual({ type: 'retry', why: 'the hub responds with 429', seconds: 0.2 })
    expect(retries.map(({ why }) => why).join()).toMatch(/responds with 503.*the connection was lost/)
    expect(sha256(await readFile(cached('blobs', sha256(vision))))).toBe(sha256(vision))
  })

  it('works with a host without ranges', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    hub.trouble.noRanges = true
    await pulling(repo)
    expect(sha256(await readFile(cached('blobs', sha256(decoder))))).toBe(sha256(decoder))
  })

  it('waits for another pull of the same files', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    hub.trouble.pace = 2
    const events: PullEvent[] = []
    await Promise.all([pulling(repo, { events }), pulling(repo, { events })])
    expect(events.some(({ type }) => type === 'wait')).toBe(true)
    expect(hub.sent).toBeLessThan(decoder.length + vision.length + 3 * (1 << 20))
  })

  it('adds a file to a snapshot without a moment in which it is missing', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    await pulling(repo)
    const cache = path.join(home, 'hub')
    const put = () => addToSnapshot(cache, repo, { commit, file: 'Pocket-Q8_0.gguf', blob: sha256(decoder) })
    for (let times = 0; times < 50; times++) {
      const puts = [put(), put(), put()]
      await expect(libraryOf().find(repo)).resolves.toMatchObject({ id: `${repo}:Q8_0` })
      await Promise.all(puts)
    }
    expect((await readdir(cached())).sort()).toEqual(['blobs', 'refs', 'snapshots'])
  })

  it('can be stopped during the check, and resumes', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    const stop = new AbortController()
    const checking = libraryOf().pull(repo, {
      anyway: false,
      signal: stop.signal,
      onEvent: ({ type, ...event }) => {
        if (type === 'check' && 'file' in event && event.file === 'Pocket-Q8_0.gguf') stop.abort()
      },
    })
    await expect(checking).rejects.toMatchObject({ kind: 'cancelled' })
    const { sent } = hub
    await pulling(repo)
    expect(hub.sent).toBe(sent)
  })

  it('reports a server that is not a hub', async () => {
    hub = await FakeHub.start({})
    const portal = createServer((_, response) => response.end('<html>Please log in</html>'))
    await new Promise<void>((resolve) => portal.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(portal.address() as AddressInfo).port}`
    await expect(pulling(repo, { env: { HF_ENDPOINT: url } })).rejects.toMatchObject({
      code: 'not_a_hub',
      message: expect.stringContaining(`${url} does not respond like a hub`),
    })
    portal.close()
  })

  it.each(['http://', 'https://huggingface.co/someone/%E0', 'https://huggingface.co/%'])(
    'refuses a URL without a repository: %s',
    async (url) => {
      hub = await FakeHub.start({})
      await expect(pulling(url)).rejects.toMatchObject({ name: 'OrielError', kind: 'invalid' })
    },
  )

  it.skipIf(shortRun)('takes over the lock of a process that has ended, one at a time', async () => {
    hub = await FakeHub.start({})
    const lock = path.join(home, 'a.lock')
    const gone = JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), since: 0 })
    for (let round = 0; round < 2; round++) {
      await writeFile(lock, gone)
      let [inside, most] = [0, 0]
      const work = async () => {
        most = Math.max(most, ++inside)
        await new Promise((resolve) => setTimeout(resolve, 5))
        inside--
      }
      const never = new AbortController().signal
      await Promise.all(Array.from({ length: 4 }, () => withLock(lock, never, () => {}, work)))
      expect(most).toBe(1)
      expect(await readdir(home)).toEqual([])
    }
  })

  it('deletes a download with a wrong hash', async () => {
    const wrong = '0'.repeat(64)
    const files = { ...pocket.files, 'Pocket-Q8_0.gguf': { content: decoder, claims: { sha256: wrong } } }
    hub = await FakeHub.start({ [repo]: { files } })
    await expect(pulling(repo)).rejects.toMatchObject({
      code: 'bad_hash',
      message: expect.stringContaining(`its hash is ${sha256(decoder)} instead of ${wrong}`),
    })
    expect(await readdir(cached('blobs'))).toEqual([sha256(vision)])
  })

  it('checks the disk space before the download', async () => {
    const files = { ...pocket.files, 'Pocket-Q8_0.gguf': { content: decoder, claims: { bytes: 5e15 } } }
    hub = await FakeHub.start({ [repo]: { files } })
    await expect(pulling(repo)).rejects.toMatchObject({
      code: 'no_space',
      message: expect.stringMatching(
        /: 5000 TB are to be downloaded, [\d.]+ [GT]B are free, and 64\.0 MB are to stay free\./,
      ),
    })
  })

  it('explains gated, private and missing repositories', async () => {
    hub = await FakeHub.start({ [repo]: { ...pocket, token: 'hf_right' }, 'closed/GGUF': { ...pocket, gated: true } })
    await expect(pulling(repo)).rejects.toMatchObject({
      kind: 'unauthorized',
      code: 'token_needed',
      message: expect.stringContaining('is gated. Accept its terms'),
    })
    await expect(pulling('closed/GGUF', { env: { HF_TOKEN: 'hf_other' } })).rejects.toMatchObject({
      kind: 'forbidden',
      code: 'no_access',
      message: expect.stringContaining('your token has no access'),
    })
    await expect(pulling('no/body')).rejects.toMatchObject({
      code: 'token_needed',
      message: 'The hub does not show no/body without a token: it does not exist, or it is private.',
    })
    await expect(pulling('no/body', { env: { HF_TOKEN: 'hf_right' } })).rejects.toThrow(
      'There is no repository no/body',
    )
    // The token is sent to the hub only: the file host refuses it.
    expect(await pulling(repo, { env: { HF_TOKEN: 'hf_right' } })).toMatchObject({ id: `${repo}:Q8_0` })
  })

  it('names the files of a repository without a model', async () => {
    hub = await FakeHub.start({ [repo]: { files: { 'model.safetensors': { content: decoder } } } })
    await expect(pulling(repo)).rejects.toThrow('has no GGUF file of a model. It has: model.safetensors.')
  })

  it('uses only the cache when offline', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    const env = { HF_HUB_OFFLINE: '1' }
    await expect(pulling(repo, { env })).rejects.toMatchObject({ code: 'offline' })
    expect(hub.requests).toEqual([])
    await pulling(repo)
    const asked = hub.requests.length
    expect(await pulling(repo, { env })).toMatchObject({ id: `${repo}:Q8_0` })
    expect(hub.requests.length).toBe(asked)
  })

  it('refuses an unsupported family before the download, unless forced', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    const families = imageFamilies.filter(({ types }) => types.includes('idefics3'))
    await expect(pulling(repo, { families })).rejects.toMatchObject({
      code: 'unsupported_family',
      message: expect.stringMatching(
        /of the family pixtral, which this version does not support. It supports idefics3\.$/,
      ),
    })
    await expect(pulling('qwen/qwen2.5-vl-72b-instruct', { families })).rejects.toThrow(
      /Qwen2.5-VL 72B Instruct has .* qwen2.5vl_merger/,
    )
    expect(await pulling(repo, { families, anyway: true })).toMatchObject({ id: `${repo}:Q8_0` })
  })

  it('reads no more than the header of a vision file, from a host without ranges, too', async () => {
    const large = Buffer.concat([vision, Buffer.alloc(40e6)])
    hub = await FakeHub.start({ [repo]: { files: { ...pocket.files, 'mmproj-Pocket-F16.gguf': { content: large } } } })
    hub.trouble.noRanges = true
    const families = imageFamilies.filter(({ types }) => types.includes('idefics3'))
    await expect(pulling(repo, { families })).rejects.toMatchObject({ code: 'unsupported_family' })
    // The header, and what was on its way.
    expect(hub.sent).toBeLessThan(30e6)
  })

  it('refuses a repository whose files would be in the folder of another one', async () => {
    hub = await FakeHub.start({})
    for (const name of ['a--b/c', 'a/b--c', 'a/b..c', `a/${'b'.repeat(250)}`, `${hub.url}/a--b/c`])
      expect(() => libraryOf().onHub(name), name).toThrow(/has no|does not name a repository/)
    expect(hub.requests).toEqual([])
  })

  it('refuses names that would leave the cache', async () => {
    hub = await FakeHub.start({
      [repo]: { files: { ...pocket.files, '../../../evil-Q4_K_M.gguf': { content: decoder } } },
    })
    await pulling(repo)
    await expect(pulling(`${repo}:Q4_K_M`)).rejects.toThrow('has no Q4_K_M')
    for (const name of [
      '/%2e%2e%2fevil/GGUF',
      '/..%2f..%2fa/b',
      `/${repo}/resolve/..%2f..%2f..%2fevil/Pocket-Q8_0.gguf`,
    ])
      await expect(pulling(hub.url + name)).rejects.toThrow('does not name a repository')
  })
})

describe('a pulled model', () => {
  it('is removed with the blobs that no other model needs', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    await pulling(repo)
    await pulling(`${repo}:F16`)
    const listed = async () => (await libraryOf().list()).models.map(({ id }) => id)
    expect(await listed()).toEqual(['pocket', `${repo}:Q8_0`, `${repo}:F16`])
    // The other quantization still needs the vision file.
    expect(await (await libraryOf().removal(`${repo}:Q8_0`)).remove()).toBe(decoder.length)
    expect(await listed()).toEqual(['pocket', `${repo}:F16`])
    expect(await (await libraryOf().removal(repo)).remove()).toBe(decoder.length + 8 + vision.length)
    await expect(stat(cached())).rejects.toThrow('ENOENT')
    await expect(libraryOf().removal('pocket')).rejects.toThrow('is part of Oriel and cannot be removed')
  })

  it('is not removed while another of its repository is pulled', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    await pulling(repo)
    const held = cached('..', '.locks', 'models--someone--Pocket-GGUF', 'some.oriel.lock')
    await withLock(
      held,
      new AbortController().signal,
      () => {},
      async () => {
        const removal = await libraryOf().removal(repo)
        await expect(removal.remove()).rejects.toMatchObject({
          kind: 'precondition_failed',
          code: 'model_being_pulled',
        })
      },
    )
    expect(await (await libraryOf().removal(repo)).remove()).toBe(decoder.length + vision.length)
  })

  it("is removed without the files elsewhere that a person's own links lead to", async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    await pulling(repo)
    const mine = path.join(home, 'mine.gguf')
    await writeFile(mine, decoder)
    const link = cached('snapshots', commit, 'Pocket-Q8_0.gguf')
    await rm(link)
    await symlink(mine, link)
    await (await libraryOf().removal(repo)).remove()
    expect((await stat(mine)).size).toBe(decoder.length)
    await expect(stat(link)).rejects.toThrow('ENOENT')
  })

  it('can come from a URL or a file of this machine, and goes to the folder of models', async () => {
    hub = await FakeHub.start({ [repo]: pocket })
    const card = await pulling(`${pocketFolder}pocket.gguf`)
    expect(card).toMatchObject({ id: 'pocket', projector: path.join(home, 'own', 'pocket', 'mmproj-pocket.gguf') })
    const elsewhere = await FakeHub.start({ [repo]: pocket })
    const from = `${elsewhere.url}/${repo}/resolve/main/Pocket-Q8_0.gguf`
    expect(await pulling(from)).toMatchObject({ id: 'Pocket-Q8_0', projector: null })
    await elsewhere.close()
  })
})
