/**
 * Makes the package that is published. `npm run package` writes `oriel-<version>.tgz` into the folder that it is given,
 * or into the current one. The clone itself is private, because `npm publish` here would leave out ONNX Runtime.
 *
 * ONNX Runtime is part of the package. As a dependency, its install script downloads CUDA libraries on Linux x64, and npm
 * drops the dependency without a message when that download fails. An installed package cannot switch the script off:
 * its `.npmrc`, `overrides` and `allowScripts` have no effect.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from './build.js'

const root = fileURLToPath(new URL('../', import.meta.url))

/** Files that the CPU provider does not load: DirectML's shader compilers, and a second copy of the macOS library. */
const unused = /\/(dxcompiler\.dll|dxil\.dll|libonnxruntime\.\d+\.\d+\.\d+\.dylib)$/

/**
 * @param {string} to the folder for the package
 * @param {boolean} complete false leaves out ONNX Runtime, which is nine tenths of the size
 * @returns {string} the path of the package
 */
function makePackage(to, complete) {
  const { private: _, devDependencies, scripts, ...manifest } = readJson(path.join(root, 'package.json'))
  return inTemporaryFolder((stage) => {
    const listed = manifest.files.filter((/** @type {string} */ name) => !name.startsWith('!'))
    for (const file of [...listed, 'README.md', 'LICENSE', 'CHANGELOG.md'])
      cpSync(path.join(root, file), path.join(stage, file), { recursive: true })
    if (complete) copyOnnxRuntime(path.join(stage, 'node_modules'))
    const bundled = complete ? { bundleDependencies: ['onnxruntime-node'] } : {}
    writeJson(path.join(stage, 'package.json'), { ...manifest, ...bundled })
    npm('pack', stage, '--silent', '--ignore-scripts', '--pack-destination', path.resolve(to))
    return path.resolve(to, `${manifest.name}-${manifest.version}.tgz`)
  })
}

/** Copies ONNX Runtime without its install script and the packages that only the script needs. */
function copyOnnxRuntime(/** @type {string} */ to) {
  const from = path.join(root, 'node_modules')
  cpSync(path.join(from, 'onnxruntime-common'), path.join(to, 'onnxruntime-common'), { recursive: true })
  for (const part of ['bin', 'dist', 'lib', 'README.md'])
    cpSync(path.join(from, 'onnxruntime-node', part), path.join(to, 'onnxruntime-node', part), {
      recursive: true,
      filter: (file) => !unused.test(file.replaceAll('\\', '/')),
    })
  const file = 'onnxruntime-node/package.json'
  const { scripts, devDependencies, dependencies, ...manifest } = readJson(path.join(from, file))
  const needed = { 'onnxruntime-common': dependencies['onnxruntime-common'] }
  writeJson(path.join(to, file), { ...manifest, dependencies: needed })
}

/** Checks what `import 'oriel'` finds, in JavaScript and in TypeScript. */
function checkPackage() {
  inTemporaryFolder((folder) => {
    const file = makePackage(folder, false)
    npm('exec', '--', 'publint', 'run', '--strict', file)
    npm('exec', '--', 'attw', '--profile', 'esm-only', '--no-summary', '--format', 'ascii', file)
  })
}

/** @template T @param {(folder: string) => T} use @returns {T} */
function inTemporaryFolder(use) {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-package-'))
  try {
    return use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const npm = (/** @type {string[]} */ ...args) =>
  execFileSync('npm', args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })

const readJson = (/** @type {string} */ file) => JSON.parse(readFileSync(file, 'utf8'))

const writeJson = (/** @type {string} */ file, /** @type {object} */ value) =>
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)

await build()
const [argument = '.'] = process.argv.slice(2)
if (argument === '--check') checkPackage()
else process.stdout.write(`${makePackage(argument, true)}\n`)
