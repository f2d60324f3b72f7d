import { type ChildProcess, type ExecFileException, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/**
 * The package as a person installs it. Run by `npm run test:package`, on the Node that runs the tests.
 * `TESTED_PACKAGE` names a package that is made already.
 */
const root = fileURLToPath(new URL('../../', import.meta.url))
const image = path.join(root, 'examples/sample.png')
const question = 'What is in this image?'
const answer = 'A red circle on a white background.'

let folder = ''
let file = process.env.TESTED_PACKAGE ?? ''

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-installed-'))
  if (file === '') {
    const made = await run(root, process.execPath, 'scripts/package.js', folder)
    file = made.stdout.trim()
  }
})

afterAll(() => rm(folder, { recursive: true }))

describe.each([
  ['with install scripts', []],
  ['without install scripts', ['--ignore-scripts']],
])('a package installed %s', (name, flags) => {
  const place = () => path.join(folder, name.replaceAll(' ', '-'))
  const oriel = (...args: string[]) => run(place(), process.execPath, entry(), ...args)
  const entry = () => path.join(place(), 'node_modules/oriel/bin/oriel.js')
  let installed: Finished

  beforeAll(async () => {
    await mkdir(place())
    await writeFile(path.join(place(), 'package.json'), JSON.stringify({ private: true, type: 'module' }))
    installed = await run(place(), 'npm', 'install', ...flags, '--no-audit', '--no-fund', file)
  })

  // light-my-request, which fastify uses, is pinned for this: its later releases depend on a package for Node 22 and up.
  it('installs without a warning about itself or an unsupported dependency', () => {
    expect(installed).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/EBADENGINE|onnxruntime|oriel/) })
  })

  it('contains ONNX Runtime and no compiler', () => {
    const modules = path.join(place(), 'node_modules')
    expect(existsSync(path.join(modules, 'oriel/node_modules/onnxruntime-node'))).toBe(true)
    for (const tool of ['tsx', 'esbuild', 'typescript', 'adm-zip'])
      expect(existsSync(path.join(modules, tool))).toBe(false)
  })

  it('prints its version', async () => {
    const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'))
    expect(await oriel('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it('lists the built-in model', async () => {
    expect(await oriel('list')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^pocket +Pocket +/m),
      stderr: '',
    })
  })

  it('answers a question about an image, with ONNX Runtime loaded', async () => {
    // Standard error is empty: the log names a missing ONNX Runtime.
    expect(await oriel('ask', image, question)).toEqual({ code: 0, stdout: `${answer}\n`, stderr: '' })
  })

  it('serves, and prints a curl that gets an answer', async () => {
    const server = spawn(process.execPath, [entry(), 'serve', '--port', '0'], { cwd: place(), env: environment })
    try {
      const { curl, complaints } = await whenServing(server)
      const { stdout } = await run(place(), 'bash', '-c', `${curl} --silent --show-error --fail`)
      expect(JSON.parse(stdout).choices[0].message.content).toBe(answer)
      expect(complaints()).toBe('')
    } finally {
      server.kill('SIGKILL')
    }
  })

  it('warns once that ONNX Runtime is missing and how to install it, and answers without it', async () => {
    const runtime = path.join(place(), 'node_modules/oriel/node_modules/onnxruntime-node')
    await rename(runtime, `${runtime}-hidden`)
    const { stderr, ...finished } = await oriel('ask', image, question)
    await rename(`${runtime}-hidden`, runtime)
    expect(finished).toEqual({ code: 0, stdout: `${answer}\n` })
    expect(stderr).toMatch(/^ONNX Runtime cannot be loaded.* npm install onnxruntime-node --ignore-scripts\..*\n$/)
  })

  it('answers a program that imports it', async () => {
    await writeFile(path.join(place(), 'program.mjs'), `${program}\nconsole.log((await reply.finish()).text)\n${end}`)
    expect(await run(place(), process.execPath, 'program.mjs', image, question)).toEqual({
      code: 0,
      stdout: `${answer}\n`,
      stderr: '',
    })
  })

  it('answers a TypeScript program that imports it, and its types are checked', async () => {
    const typed = [
      "import type { Finished } from 'oriel'",
      program,
      'const finished: Finished = await reply.finish()',
      'console.log(finished.text, finished.usage.promptTokens > 0)',
      '// @ts-expect-error: a number is not a model',
      'void (() => oriel.ask(question, { model: 1 }))',
      end,
    ]
    await writeFile(path.join(place(), 'program.ts'), typed.join('\n'))
    await writeFile(
      path.join(place(), 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          target: 'es2023',
          module: 'nodenext',
          strict: true,
          types: ['node'],
          typeRoots: [path.join(root, 'node_modules/@types')],
        },
        files: ['program.ts'],
      }),
    )
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
    expect(await run(place(), process.execPath, tsc)).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(await run(place(), process.execPath, 'program.js', image, question)).toEqual({
      code: 0,
      stdout: `${answer} true\n`,
      stderr: '',
    })
  })
})

/** JavaScript and TypeScript alike. */
const program = `
import { createOriel } from 'oriel'

const [image = '', question = ''] = process.argv.slice(2)
const oriel = await createOriel()
const reply = await oriel.ask(question, { images: [image] })
`.trim()
const end = 'await oriel.close()\n'

interface Finished {
  code: number
  stdout: string
  stderr: string
}

/** Settings of the npm that runs the tests, `ignore-scripts` among them, must not reach the npm that installs. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))

function run(cwd: string, command: string, ...args: string[]): Promise<Finished> {
  const codeOf = (error: ExecFileException | null) => (error === null ? 0 : Number(error.code ?? 1))
  // npm is a script of the shell on Windows.
  const options = { cwd, env: environment, shell: command === 'npm' && process.platform === 'win32' }
  return new Promise((resolve) => {
    execFile(command, args, options, (error, stdout, stderr) => resolve({ code: codeOf(error), stdout, stderr }))
  })
}

/** Waits until a server has printed its example. */
async function whenServing(server: ChildProcess): Promise<{ curl: string; complaints: () => string }> {
  let out = ''
  let complaints = ''
  server.stderr?.on('data', (text) => {
    complaints += text
  })
  for await (const text of server.stdout ?? []) {
    out += text
    const curl = /^curl .*$/m.exec(out)
    if (curl !== null && out.endsWith('\n\n')) return { curl: curl[0], complaints: () => complaints }
  }
  throw new Error(`the server ended: ${complaints}`)
}
