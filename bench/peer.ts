import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync } from 'node:fs'
import { availableParallelism, homedir } from 'node:os'
import path from 'node:path'

/** The build of llama-server, model files and the servers' logs. It may be deleted. */
export const cacheFolder = path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'oriel', 'bench')

/** The npm package with the sources of the llama.cpp release that Oriel uses. */
const version = '3.22.1'

/** A release build for the instructions of this machine, without optional parts. */
const options = {
  CMAKE_BUILD_TYPE: 'Release',
  GGML_NATIVE: 'ON',
  BUILD_SHARED_LIBS: 'OFF',
  LLAMA_BUILD_TESTS: 'OFF',
  LLAMA_BUILD_EXAMPLES: 'OFF',
  LLAMA_BUILD_APP: 'OFF',
  LLAMA_BUILD_UI: 'OFF',
  LLAMA_USE_PREBUILT_UI: 'OFF',
  LLAMA_OPENSSL: 'OFF',
}

const folder = path.join(cacheFolder, `peer-${version}`)
const [source, build] = [path.join(folder, 'source'), path.join(folder, 'build')]

/** `llama-server`, if it is built. */
export function builtPeer(): string | undefined {
  const server = path.join(build, 'bin', 'llama-server')
  return existsSync(server) ? server : undefined
}

/**
 * Builds `llama-server` with libmtmd unless it exists. The build takes a quarter of an hour.
 * @returns its path
 */
export async function buildPeer(): Promise<string> {
  const before = builtPeer()
  if (before !== undefined) return before

  mkdirSync(folder, { recursive: true })
  await requireTools()
  process.stdout.write(`Building llama-server once, in ${folder} (this takes a while; see build.log there)\n`)
  const log = openSync(path.join(folder, 'build.log'), 'w')
  if (!existsSync(source)) {
    await run(log, folder, 'npm', ['pack', `node-llama-cpp@${version}`, '--silent'])
    await run(log, folder, 'tar', ['-xzf', `node-llama-cpp-${version}.tgz`, 'package/llama/gitRelease.bundle'])
    await run(log, folder, 'git', ['clone', '--quiet', 'package/llama/gitRelease.bundle', source])
  }
  const flags = Object.entries(options).map(([name, value]) => `-D${name}=${value}`)
  await run(log, folder, 'cmake', ['-S', source, '-B', build, ...flags])
  await run(log, folder, 'cmake', ['--build', build, '--target', 'llama-server', `-j${availableParallelism()}`])
  return path.join(build, 'bin', 'llama-server')
}

/** Compiles a C++ program that calls libmtmd, and builds libmtmd unless it exists. */
export async function compileWithPeer(program: string, output: string): Promise<void> {
  await buildPeer()
  const library = (name: string) => path.join(build, name)
  await run('inherit', '.', 'g++', [
    ...['-O1', '-std=c++17', '-o', output, program],
    ...['include', 'ggml/include', 'tools/mtmd'].map((folder) => `-I${path.join(source, folder)}`),
    ...['tools/mtmd/libmtmd.a', 'vendor/hash/libvendor-hash.a', 'src/libllama.a', 'ggml/src/libggml.a'].map(library),
    ...['-ldl', library('ggml/src/libggml-cpu.a'), library('ggml/src/libggml-base.a'), '-lm', '-lgomp', '-lpthread'],
  ])
}

async function requireTools(): Promise<void> {
  const needed = { cmake: 'cmake', 'g++': 'g++', git: 'git', tar: 'tar' }
  const missing: string[] = []
  for (const [command, debian] of Object.entries(needed))
    await run('ignore', '.', command, ['--version']).catch(() => missing.push(debian))
  if (missing.length === 0) return
  throw new Error(
    `The peer cannot be built without ${missing.join(', ')}. On Debian: apt-get install ${missing.join(' ')}`,
  )
}

function run(
  output: number | 'ignore' | 'inherit',
  cwd: string,
  command: string,
  args: readonly string[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', output, output] })
    child.once('error', reject)
    child.once('exit', (code) => {
      if (code === 0) resolve()
      else {
        const where = typeof output === 'number' ? `; see build.log in ${cwd}` : ''
        reject(new Error(`${command} ${args[0] ?? ''} failed with code ${code}${where}`))
      }
    })
  })
}
