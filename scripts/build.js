/**
 * Compiles `src/` to `dist/`, the tree that `bin/oriel.js` runs and that the package contains: `node scripts/build.js`.
 * `npm run build` also checks types. In a clone `bin/oriel.js` calls `buildIfStale`, so it never runs code that is older
 * than the sources.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const dist = path.join(root, 'dist')
const stamp = path.join(dist, '.sources')

/** Compiles unless `dist/` was made from exactly the sources that are there. Skips the type check, which takes seconds. */
export function buildIfStale() {
  const sources = fingerprint()
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === sources) return
  process.stderr.write('Compiling src/ to dist/ ...\n')
  build(sources, ['--noCheck'])
}

/**
 * The result appears under its name only when it is complete: another process never sees half of it.
 * @param {string} sources
 * @param {string[]} flags of tsc
 */
function build(sources, flags) {
  const fresh = `${dist}.${process.pid}`
  try {
    const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc')
    const project = path.join(root, 'tsconfig.build.json')
    execFileSync(process.execPath, [compiler, '-p', project, '--outDir', fresh, ...flags], { stdio: 'inherit' })
    for (const file of filesBelow(path.join(root, 'src')))
      if (!file.endsWith('.ts')) cpSync(path.join(root, 'src', file), path.join(fresh, file))
    writeFileSync(path.join(fresh, '.sources'), sources)
    rmSync(dist, { recursive: true, force: true })
    renameSync(fresh, dist)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/** Changes with every file that is added, removed or saved, and with the compiler's settings. */
function fingerprint() {
  const hash = createHash('sha256')
  const files = filesBelow(path.join(root, 'src')).map((file) => path.join('src', file))
  for (const file of [...files, 'tsconfig.json', 'tsconfig.build.json']) {
    const { mtimeMs, size } = statSync(path.join(root, file))
    hash.update(`${file} ${mtimeMs} ${size}\n`)
  }
  return hash.digest('hex')
}

/** @param {string} folder */
function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build(fingerprint(), [])
