/**
 * Bundles `src/` into `dist/`, which `bin/oriel.js` runs and the package contains, and builds `web/` to `dist/web/`.
 * `npm run build` also checks types and writes the declarations. In a clone, `bin/oriel.js` and the tests call `buildIfStale`,
 * so they never run code that is older than the sources.
 *
 * Hundreds of small files take longer to find and to read than to run, in each of the processes that load a model. So the
 * code is a few files, not minified, and packages of JavaScript that a server needs at its start are a part of them.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const dist = path.join(root, 'dist')
/** The pages of a browser, in the same folder: the package has one. */
const pages = path.join(dist, 'web')
/** What processes and threads run, and what programs import. `src/places.ts` knows how the compiled files are named. */
const entries = [
  'app',
  'cli/main',
  'accounts/store/sqlite-thread',
  'encoders/graph/weights-to-disk',
  'engine/calibration-process',
  'engine/gpu-probe',
  'engine/encoder-thread',
  'engine/preview-thread',
  'engine/process',
  'machine/speed-probe',
  'media/decoder/process',
  'models/peft/convert-thread',
  'prompt/layout-thread',
  'tuning/external/command-process',
  'tuning/datasets/work-process',
  'tuning/trainer-process',
  'tuning/merge/process',
]
/** Packages that become a part of the bundle, with those that they need. Their licences come with it. */
export const inlined = [
  ...['@huggingface/jinja', 'commander', 'fastify', 'ipaddr.js', 'kysely', 'lru-cache', 'pino', 'prom-client', 'zod'],
]
/** In `dist/`: the fingerprint of the sources that it was compiled from. */
const stamp = '.sources'

/** Bundles when the sources are not those that `dist/` was made from. Leaves out the types, which take seconds. */
export default async function buildIfStale() {
  const sources = fingerprint()
  if (!isStamped(dist, sources)) {
    process.stderr.write('Compiling src/ to dist/ ...\n')
    await compile(sources)
  }
  buildPages()
}

/** Bundles, checks types and writes the declarations. Exits with a message when there are errors, as `buildIfStale` does. */
export async function build() {
  await compile(fingerprint(), declare)
  buildPages()
}

/** Builds `web/` to `dist/web/`, if it has changed. */
function buildPages() {
  const sources = fingerprintOf([...filesBelow('web'), 'src/file-names.ts'])
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
  /MODULE_NOT_FOUND/.test(error.code ?? '') ? 'What it is built with is not installed: run npm ci.' : error.message

const isStamped = (/** @type {string} */ folder, /** @type {string} */ sources) => {
  const file = path.join(folder, stamp)
  return existsSync(file) && readFileSync(file, 'utf8') === sources
}

/**
 * The result takes the place of `dist/` when it is complete: no process sees half of it.
 * @param {string} sources @param {(folder: string) => void} [more] adds to it
 */
async function compile(sources, more) {
  const fresh = `${dist}.${process.pid}`
  try {
    const packages = await bundle(fresh)
    more?.(fresh)
    writeFileSync(path.join(fresh, 'licenses.txt'), packages.map(licenseOf).join('\n'))
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

/** @param {string} to @returns the folders of the packages in it */
async function bundle(to) {
  const { rolldown } = await import('rolldown')
  const isInlined = (/** @type {string} */ id, /** @type {string} */ importer = '') =>
    packageOf(importer) !== undefined || inlined.some((name) => id === name || id.startsWith(`${name}/`))
  const bundle = await rolldown({
    cwd: root,
    platform: 'node',
    input: Object.fromEntries(entries.map((entry) => [entry.replaceAll('/', '-'), `src/${entry}.ts`])),
    // A door does nothing itself: who takes one thing from a room need not read the rest of the room first.
    treeshake: { moduleSideEffects: [{ test: /src[\\/].*[\\/]index\.ts$/, sideEffects: false }] },
    external: (id, importer) =>
      isBuiltin(id) || (!id.startsWith('.') && !path.isAbsolute(id) && !isInlined(id, importer)),
  })
  // Without hashes: a server that runs still finds its files when a clone is compiled again.
  const names = { entryFileNames: '[name].js', chunkFileNames: '[name].js' }
  const { output } = await bundle.write({ dir: to, sourcemap: true, ...names })
  const modules = output.flatMap((one) => (one.type === 'chunk' ? Object.keys(one.modules) : []))
  return [...new Set(modules.flatMap((file) => packageOf(file) ?? []))].sort()
}

/** The folder of the package that has a file; undefined for one of ours. */
const packageOf = (/** @type {string} */ file) => /^.*[\\/]node_modules[\\/](@[^\\/]+[\\/])?[^\\/]+/.exec(file)?.[0]

function declare(/** @type {string} */ to) {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  const flags = ['-p', path.join(root, 'tsconfig.build.json'), '--outDir', to]
  execFileSync(process.execPath, [tsc, ...flags], { stdio: ['ignore', 2, 2] })
}

/** @param {string} folder of a package @throws Error if it does not say what its licence is */
function licenseOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'))
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one))
  if (file === undefined && license === undefined) throw new Error(`${name} has no licence`)
  return `${name} ${version}\n\n${file === undefined ? license : readFileSync(path.join(folder, file), 'utf8')}`
}

/** Changes when a source is added, removed or saved, with the compiler's settings, and with the packages that are a part of it. */
function fingerprint() {
  const others = ['package-lock.json', 'scripts/build.js', 'tsconfig.json', 'tsconfig.build.json']
  return fingerprintOf([...filesBelow('src'), ...others])
}

function fingerprintOf(/** @type {string[]} */ files) {
  const hash = createHash('sha256')
  for (const file of files) {
    const { mtimeMs, size } = statSync(path.join(root, file))
    hash.update(`${file} ${mtimeMs} ${size}\n`)
  }
  return hash.digest('hex')
}

/** By their paths from the root. Node's own `recursive` takes ten times as long, at each start in a clone. @returns {string[]} */
function filesBelow(/** @type {string} */ folder) {
  const entries = readdirSync(path.join(root, folder), { withFileTypes: true })
  return entries
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(`${folder}/${entry.name}`) : [`${folder}/${entry.name}`]))
    .sort()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build()
