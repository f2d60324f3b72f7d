import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'
import { failureText } from '../../src/cli/failure.ts'
import { createProgram } from '../../src/cli/program.ts'

export const root = fileURLToPath(new URL('../../', import.meta.url))
const bin = `${root}bin/oriel.js`

export interface Finished {
  code: number
  stdout: string
  stderr: string
}

interface Place {
  cwd?: string
  /** Added to the environment. */
  env?: Readonly<Record<string, string>>
  /** What stdin has. It ends there. */
  input?: string | Uint8Array
}

/** With a port where no server is found that this machine may run. */
export const environment = (env: Readonly<Record<string, string>>): NodeJS.ProcessEnv => ({
  ORIEL_PORT: '9',
  ...process.env,
  ...env,
})

/** Runs a program until it exits. */
export const run = (
  file: string,
  args: readonly string[],
  { cwd = root, env = {}, input }: Place = {},
): Promise<Finished> =>
  new Promise((resolve) => {
    const { stdin } = execFile(file, args, { cwd, env: environment(env) }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    )
    // A command that does not read it closes it.
    stdin?.on('error', () => {})
    stdin?.end(input)
  })

/** Runs the `oriel` command until it exits. */
export const oriel = (args: readonly string[], place: Place = {}): Promise<Finished> =>
  run(process.execPath, [bin, ...args], place)

class Exit extends Error {
  readonly code: number

  constructor(code: number) {
    super(`exit ${code}`)
    this.code = code
  }
}

/** Commands listen for them until their process ends. */
const signals = ['SIGINT', 'SIGTERM'] as const

/** Runs a command in this process, which takes a few ms. It must not read stdin, or go on after it has failed. */
export async function orielHere(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Finished> {
  const finished = { code: 0, stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      finished[stream] += String(text)
      return true
    }),
  )
  // Commander exits by itself, after it has said what it does not understand.
  const exit = vi.spyOn(process, 'exit').mockImplementation((code) => {
    throw new Exit(Number(code ?? 0))
  })
  for (const [name, value] of Object.entries({ ORIEL_PORT: '9', ...env })) vi.stubEnv(name, value)
  const ours = signals.map((signal) => process.listeners(signal))
  try {
    await createProgram().parseAsync([...args], { from: 'user' })
  } catch (error) {
    finished.code = error instanceof Exit ? error.code : 1
    if (!(error instanceof Exit)) finished.stderr += `oriel: ${await failureText(error)}\n`
  } finally {
    vi.unstubAllEnvs()
    for (const spy of [...spies, exit]) spy.mockRestore()
    for (const [index, signal] of signals.entries())
      for (const listener of process.listeners(signal))
        if (!ours[index]?.includes(listener)) process.removeListener(signal, listener)
  }
  return finished
}

/**
 * Runs `oriel serve` on a free port.
 * @param stderr where its log goes: a file descriptor; default: that of the tests
 * @returns when the server is ready, with its output so far
 */
export async function orielServe(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  stderr: number | 'inherit' = 'inherit',
): Promise<{ child: ChildProcess; pid: number; out: string; url: string }> {
  const child = spawn(process.execPath, [bin, 'serve', '--port', '0', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', stderr],
    env: environment(env),
  })
  let out = ''
  for await (const part of child.stdout ?? []) {
    out += part
    if (out.includes('curl ') && out.endsWith('\n\n')) break
  }
  return { child, pid: child.pid ?? 0, out, url: /http:\/\/\S+:\d+/.exec(out)?.[0] ?? '' }
}
