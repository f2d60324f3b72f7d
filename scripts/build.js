/**
 * Compiles `src/` to `dist/`, which `bin/oriel.js` runs and the package contains, and builds `web/` to `dist/web/`. `npm run build` also checks types. In a
 * clone, `bin/oriel.js` and the tests call `buildIfStale`, so they never run code that is older than the sources.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const dist = path.join(root, 'dist')
/** The pages of a browser, in the same folder: the package has one. */
const pages = path.join(dist, 'web')
/** In `dist/`: the fingerprint of the sources that it was compiled from. */
const stamp = '.sources'

/**
 * Compiles when the sources are not those that `dist/` was compiled from. Leaves out the type check and the declarations,
 * which take seconds.
 */
export default function buildIfStale() {
  const sources = fingerprint()
  if (!isStamped(dist, sources)) {
    process.stderr.write('Compiling src/ to dist/ ...\n')
    compile(sources, ['--noCheck', '--declaration', 'false'])
  }
  buildPages()
}

/** Compiles and checks types. Exits with a message when there are errors, as `buildIfStale` does. */
export function build() {
  compile(fingerprint(), [])
  buildPages()
}

/** Builds `web/` to `dist/web/`, if it has changed. */
function buildPages() {
  const sources = fingerprintOf(filesBelow('web').map((file) => path.join('web', file)))
  if (isStamped(pages, sources)) return
  process.stderr.write('Building web/ to dist/web/ ...\n')
  const fresh = `${pages}.${process.pid}`
  try {
    const vite = path.join(path.dirname(createRequire(import.meta.url).resolve('vite/package.json')), 'bin/vite.js')
    const flags = ['build', 'web', '--outDir', fresh, '--emptyOutDir']
    execFileSync(process.execPath, [vite, ...flags], { cwd: root, stdio: ['ignore', 2, 2] })
    writeFileSync(path.join(fresh, stamp), sources)
    rmSync(pages, { recursive: true, force: true })
    renameSync(fresh, pages)
  } catch (error) {
    // Vite has written its own errors.
    if (error.status === undefined) process.stderr.write(`${missing(error)}\n`)
    process.exitCode = 1
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  if (process.exitCode === 1) process.exit()
}

const missing = (/** @type {NodeJS.ErrnoException} */ error) =>
  error.code === 'MODULE_NOT_FOUND' ? 'What it is built with is not installed: run npm ci.' : error.message

const isStamped = (/** @type {string} */ folder, /** @type {string} */ sources) => {
  const file = path.join(folder, stamp)
  return existsSync(file) && readFileSync(file, 'utf8') === sources
}

/** The result takes the place of `dist/` when it is complete: no process sees half of it. */
function compile(/** @type {string} */ sources, /** @type {string[]} */ flags) {
  const fresh = `${dist}.${process.pid}`
  try {
    const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
    const project = path.join(root, 'tsconfig.build.json')
    execFileSync(process.execPath, [tsc, '-p', project, '--outDir', fresh, ...flags], { stdio: ['ignore', 2, 2] })
    writeFileSync(path.join(fresh, stamp), sources)
    if (existsSync(pages)) renameSync(pages, path.join(fresh, 'web'))
    rmSync(dist, { recursive: true, force: true })
    renameSync(fresh, dist)
  } catch (error) {
    // tsc has written its own errors.
    if (error.status === undefined) process.stderr.write(`${missing(error)}\n`)
    process.exitCode = 1
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  if (process.exitCode === 1) process.exit()
}

/** Changes when a source is added, removed or saved, and with the compiler's settings. */
function fingerprint() {
  const sources = filesBelow('src').map((file) => path.join('src', file))
  return fingerprintOf([...sources, 'tsconfig.json', 'tsconfig.build.json'])
}

function fingerprintOf(/** @type {string[]} */ files) {
  const hash = createHash('sha256')
  for (const file of files) {
    const { mtimeMs, size } = statSync(path.join(root, file))
    hash.update(`${file} ${mtimeMs} ${size}\n`)
  }
  return hash.digest('hex')
}

function filesBelow(/** @type {string} */ folder) {
  const files = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
  return files.filter((file) => path.extname(file) !== '').sort()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build()
