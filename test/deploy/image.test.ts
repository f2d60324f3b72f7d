import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { postJson } from '../support/http.ts'
import { patient } from '../support/wait.ts'

/**
 * The image without Docker: its root file system, laid out by the script that the Dockerfile calls, and entered as a container is:
 * read-only, as the user of the image, with a volume at /data and nothing else.
 */
const root = path.join(import.meta.dirname, '../..')
const whyNot = ((): string | undefined => {
  // It makes the package, and so compiles anew what the servers of other tests run.
  if (process.env.TEST_ALONE !== '1') return 'it must run alone: TEST_ALONE=1'
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it needs Linux, and root'
  for (const program of ['unshare', 'chroot', 'apt-get', 'dpkg-deb', 'strip'])
    if (spawnSync(program, ['--version']).error !== undefined) return `${program} is not installed`
  const mounts = spawnSync('unshare', ['--mount', 'mount', '--bind', '/tmp', '/tmp'])
  return mounts.status === 0 ? undefined : 'nothing may be mounted here'
})()

describe(`the image${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`, () => {
  let folder = ''
  const image = () => path.join(folder, 'image')
  const running: ChildProcess[] = []

  beforeAll(() => {
    if (whyNot !== undefined) return
    folder = mkdtempSync(path.join(tmpdir(), 'oriel-image-'))
    execFileSync(process.execPath, ['scripts/image.js', image()], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
    mkdirSync(path.join(folder, 'data'))
    chownSync(path.join(folder, 'data'), 10_001, 10_001)
  }, 600_000)
  afterAll(() => {
    for (const child of running) child.kill('SIGKILL')
    if (folder !== '') rmSync(folder, { recursive: true })
  })

  /** What Docker does, as far as it matters here. */
  const enter = [
    'mount --bind "$1" "$1" && mount --bind "$2" "$1/data" && mount -t proc proc "$1/proc"',
    'mount --bind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/tmp" && mount -o remount,ro,bind "$1" && cd / && root=$1 && shift 2',
    'exec chroot --userspec=10001:10001 "$root" "$@"',
  ].join(' && ')
  const contained = (command: readonly string[], env: Record<string, string> = {}) =>
    [
      'unshare',
      ['--mount', 'sh', '-c', enter, 'sh', image(), path.join(folder, 'data'), ...command],
      { env: { PATH: process.env.PATH, HOME: '/data', HF_HUB_OFFLINE: '1', ...env } },
    ] as const
  const run = (...command: string[]) => {
    const [program, args, options] = contained(command)
    return spawnSync(program, args, { ...options, encoding: 'utf8' })
  }

  it.skipIf(whyNot)('has less than 300 MB', () => {
    const entries = readdirSync(image(), { recursive: true, encoding: 'utf8' })
    const bytes = entries.reduce((sum, name) => {
      const stats = lstatSync(path.join(image(), name))
      return stats.isFile() ? sum + stats.size : sum
    }, 0)
    process.stdout.write(`The image has ${Math.round(bytes / 1e6)} MB with Node ${process.versions.node}.\n`)
    expect(bytes).toBeLessThan(300e6)
  })

  it.skipIf(whyNot)('has no shell, no source and no compiler, and says what it has of Debian', () => {
    expect(
      spawnSync('find', [image(), '-name', 'sh', '-o', '-name', '*.ts', '-o', '-name', 'npm']).stdout.toString(),
    ).toBe('')
    const statuses = path.join(image(), 'var/lib/dpkg/status.d')
    for (const name of ['libc6', 'libstdc++6'])
      expect(readFileSync(path.join(statuses, name), 'utf8')).toMatch(/^Package: .*[\s\S]*^Version: /m)
  })

  it.skipIf(whyNot)('answers about an image at the command line', () => {
    const { stdout, stderr } = run(
      '/usr/local/bin/oriel',
      'ask',
      '/opt/oriel/examples/sample.png',
      'What is in this image?',
    )
    expect([stdout, stderr]).toEqual(['A red circle on a white background.\n', expect.anything()])
  })

  it.skipIf(whyNot)('finds nothing wrong with itself', () => {
    const { stdout } = run('/usr/local/bin/oriel', 'doctor', '--json')
    const { checks }: { checks: { check: string; status: string }[] } = JSON.parse(stdout)
    expect(checks.filter(({ status }) => status !== 'ok')).toEqual([])
    expect(checks.map(({ check }) => check)).toContain('vision runtime')
  })

  it.skipIf(whyNot)('loads each package that it has, although it lacks files that are not for this platform', () => {
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
    const packages = Object.keys({ ...dependencies, ...optionalDependencies })
      // Some are libraries without code, and some became a part of `dist/`.
      .filter((name) => !name.startsWith('@node-llama-cpp/'))
      .filter((name) => existsSync(path.join(image(), 'opt/oriel/node_modules', name)))
      .map((name) => (name === 'libheif-js' ? 'libheif-js/wasm-bundle.js' : name))
    expect(packages).toEqual(expect.arrayContaining(['sharp', 'onnxruntime-node', 'mediabunny', 'node-webcodecs']))
    const data = path.join(folder, 'data')
    symlinkSync('/opt/oriel/node_modules', path.join(data, 'node_modules'))
    writeFileSync(path.join(data, 'load.mjs'), packages.map((name) => `import ${JSON.stringify(name)}\n`).join(''))
    expect(run('/usr/local/bin/node', '/data/load.mjs')).toMatchObject({ status: 0 })
  })

  it.skipIf(whyNot)('serves, keeps its data in the volume, is healthy, and ends on SIGTERM', async () => {
    const port = '38419'
    const [program, args, options] = contained(['/usr/local/bin/node', '/opt/oriel/bin/oriel.js', 'serve'], {
      ORIEL_PORT: port,
      ORIEL_ADMIN_KEY: 'a-key-of-many-characters',
    })
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'ignore', 'inherit'] })
    running.push(child)
    const ended = new Promise((resolve) => child.once('exit', resolve))
    const url = `http://127.0.0.1:${port}`
    await vi.waitFor(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), patient)
    const ask = JSON.parse(readFileSync(path.join(root, 'examples/ask.json'), 'utf8'))
    const headers = { authorization: 'Bearer a-key-of-many-characters' }
    const response = await postJson(`${url}/v1/chat/completions`, ask, { headers })
    expect(await response.json()).toMatchObject({
      choices: [{ message: { content: 'A red circle on a white background.' } }],
    })
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\t10001\t10001/m)
    const probe: string[] = JSON.parse(
      /CMD (\["node", "-e".*\])$/m.exec(readFileSync(path.join(root, 'deploy/Dockerfile'), 'utf8'))?.[1] ?? '',
    )
    const health = spawnSync(process.execPath, probe.slice(1), { env: { ORIEL_PORT: port } })
    expect(health.status).toBe(0)
    expect(readdirSync(path.join(folder, 'data/.oriel'))).toContain('accounts.db')
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
  })
})
