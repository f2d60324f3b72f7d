import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { environment, root } from '../support/cli.ts'
import { FakeHub } from '../support/hub.ts'
import { shortRun } from '../support/long.ts'
import { pocketFolder } from '../support/pocket.ts'
import { patient } from '../support/wait.ts'

const decoder = readFileSync(`${pocketFolder}pocket.gguf`)
const vision = readFileSync(`${pocketFolder}mmproj-pocket.gguf`)
const repo = 'someone/Pocket-GGUF'
const files = { 'Pocket-Q8_0.gguf': { content: decoder }, 'mmproj-Pocket-F16.gguf': { content: vision } }

let hub: FakeHub
let home: string
beforeAll(async () => {
  hub = await FakeHub.start({ [repo]: { files }, 'ggml-org/SmolVLM-256M-Instruct-GGUF': { files, token: 'hf_right' } })
  home = await mkdtemp(path.join(tmpdir(), 'oriel-cli-pull-'))
})
afterAll(async () => {
  await hub.close()
  await rm(home, { recursive: true })
})
beforeEach(() => {
  hub.trouble.pace = 0
})

interface Running {
  child: ChildProcess
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>
}

function start(env: Readonly<Record<string, string>>, ...args: string[]): Running {
  const child = spawn(process.execPath, [path.join(root, 'bin/oriel.js'), ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environment({ HF_ENDPOINT: hub.url, HF_HOME: home, ORIEL_MODELS_DIR: path.join(home, 'own'), ...env }),
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (text) => {
    stdout += text
  })
  child.stderr.on('data', (text) => {
    stderr += text
  })
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  )
  return { child, ended }
}
const oriel = (...args: string[]) => start({}, ...args).ended

/** Waits until the saved progress and the complete files have this many bytes. */
async function saved(bytes: number): Promise<void> {
  const blobs = path.join(home, 'hub', 'models--someone--Pocket-GGUF', 'blobs')
  const bytesIn = async (name: string): Promise<number> => {
    if (!name.includes('.')) return (await stat(path.join(blobs, name))).size
    if (!name.endsWith('.parts')) return 0
    const { parts } = JSON.parse(await readFile(path.join(blobs, name), 'utf8')) as {
      parts: { from: number; at: number }[]
    }
    return parts.reduce((sum, { from, at }) => sum + at - from, 0)
  }
  const enough = async () => {
    const counts = await Promise.all((await readdir(blobs)).map(bytesIn))
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(bytes)
  }
  await vi.waitFor(enough, patient)
}

/** Waits until the hub has sent this many more bytes. */
async function sent(bytes: number): Promise<void> {
  for (const before = hub.sent; hub.sent - before < bytes; ) await new Promise((resolve) => setTimeout(resolve, 10))
}

describe('oriel pull', () => {
  it.skipIf(shortRun)('resumes after it was stopped, and after it was killed', async () => {
    hub.trouble.pace = 80
    const stopped = start({}, 'pull', repo)
    await sent(1_500_000)
    stopped.child.kill('SIGINT')
    expect(await stopped.ended).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('oriel: Stopped. The downloaded part is kept: repeat the command to resume.\n'),
    })
    const killed = start({}, 'pull', repo)
    await sent(2_500_000)
    await saved(2_500_000)
    killed.child.kill('SIGKILL')
    await killed.ended
    const before = hub.sent
    hub.trouble.pace = 0
    // Of two at once, one downloads and the other waits for it.
    const both = await Promise.all([oriel('pull', repo), oriel('pull', repo)])
    for (const { code, stdout, stderr } of both) {
      expect(code, stderr).toBe(0)
      expect(stdout).toBe(`${repo}:Q8_0 is ready (15.5 MB). Serve it with: oriel serve --model ${repo}\n`)
      expect(stderr).toMatch(/MB already downloaded/)
    }
    // The vision file's header twice, and the missing part once.
    expect(hub.sent - before).toBeLessThan(decoder.length + vision.length - 2_000_000 + 2 * (1 << 20))
    expect(await readdir(path.join(home, 'hub', '.locks', 'models--someone--Pocket-GGUF'))).toEqual([])
  })

  it.runIf(shortRun)('downloads a model', async () => {
    const { code, stdout, stderr } = await oriel('pull', repo)
    expect(code, stderr).toBe(0)
    expect(stdout).toBe(`${repo}:Q8_0 is ready (15.5 MB). Serve it with: oriel serve --model ${repo}\n`)
  })

  it('says what `oriel run` has downloaded on stderr: stdout has the answer alone', async () => {
    const place = path.join(home, 'run')
    const running = start({ HF_HOME: place }, 'run', '--yes', '--json', repo, 'examples/sample.png', 'What is it?')
    const { code, stdout, stderr } = await running.ended
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ model: `${repo}:Q8_0` })
    expect(stderr).toContain(`${repo}:Q8_0 is ready (15.5 MB).`)
  })

  it.skipIf(process.platform === 'win32')('ends with 130 if Ctrl-C stops the download of `oriel run`', async () => {
    hub.trouble.pace = 80
    const stopped = start({ HF_HOME: path.join(home, 'stopped') }, 'run', '--yes', repo, 'What is it?')
    await sent(500_000)
    stopped.child.kill('SIGINT')
    expect(await stopped.ended).toMatchObject({
      code: 130,
      stdout: '',
      stderr: expect.stringContaining('oriel: Stopped. The downloaded part is kept: repeat the command to resume.\n'),
    })
  })

  it('answers with the pulled model', async () => {
    expect(await oriel('ask', '--model', repo, 'examples/sample.png', 'What is in this image?')).toEqual({
      code: 0,
      stdout: 'A red circle on a white background.\n',
      stderr: '',
    })
  })

  it('shows what the model is and what it needs', async () => {
    const { stdout, stderr } = await oriel('show', repo)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^architecture +llama, 6 layers$/m)
    expect(stdout).toMatch(/^vision +pixtral, 5 million parameters, 160 x 160 pixels at a time$/m)
    // As `usage` counts them: with the mark after the image.
    expect(stdout).toMatch(/^image tokens +512 x 512: 72 low, 110 auto, 110 high$/m)
    expect(stdout).toMatch(
      /^memory +\S+ [MG]B \(weights 5.9 MB, vision 19.2 MB, \d+ tokens of context [\d.]+ MB, .*\)$/m,
    )
    expect((await oriel('show', 'qwen/qwen2.5-vl-72b-instruct')).stdout).toMatch(
      /^downloaded +no: oriel pull qwen2.5-vl-72b downloads it$/m,
    )
  })

  it('removes the model after a confirmation', async () => {
    expect(await oriel('rm', repo)).toMatchObject({ code: 1, stderr: expect.stringContaining('use --yes') })
    expect(await oriel('rm', '--yes', repo)).toMatchObject({
      code: 0,
      stdout: `${repo}:Q8_0 was removed: 15.5 MB freed.\n`,
    })
    expect((await oriel('list')).stdout).not.toContain(repo)
  })

  it('reports an error in one line with advice, and exits with 1', async () => {
    const said = async (...args: string[]) => (await oriel(...args)).stderr
    expect(await said('pull', 'smolvlm-256m')).toMatch(/^oriel: .* is gated\. .* HF_TOKEN .*\n$/)
    expect(await said('pull', 'smolvlm-9b')).toMatch(
      /^oriel: The catalogue has no smolvlm-9b \(similar: smolvlm-256m.*\)\. `oriel list --catalogue` shows/,
    )
    expect(await said('serve', '--model', 'smolvlm-256m')).toMatch(
      /^oriel: SmolVLM 256M Instruct has not been downloaded\. `oriel pull smolvlm-256m` downloads it\.\n$/,
    )
    const broken = path.join(home, 'broken.gguf')
    await writeFile(broken, decoder.subarray(0, 3_000_000))
    expect(await said('serve', '--model', broken)).toMatch(
      /^oriel: broken\.gguf is not a valid GGUF file: it is truncated: it has 3000000 bytes, and its tensors need \d+\.\n$/,
    )
  })
})
