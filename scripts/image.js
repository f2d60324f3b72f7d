/**
 * Lays out the root file system of the container image in an empty folder: Oriel with the packages that this platform loads,
 * the Node that runs this, and of Debian only what these two need. There is no shell and no package manager in it.
 *
 *   node scripts/image.js <folder> [cpu | cuda]
 *
 * `deploy/Dockerfile` calls it. It needs no Docker: the folder can be entered with chroot, which is how it is tested. Only root can
 * give `/data` to the user of the image.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { inlined } from './build.js'

const source = fileURLToPath(new URL('../', import.meta.url))
const { arch, platform, execPath } = process
/** Debian's packages with the libraries of Node and of Oriel's native packages. Certificates are a part of Node. */
const debianPackages = ['base-files', 'libc6', 'libgcc-s1', 'libstdc++6']
/** The user of the image. */
const user = { name: 'oriel', id: 10001, home: '/data' }

/** Files of packages that nothing loads here: those of other platforms, and what only editors and debuggers read. */
const unused = [
  /(?<!licen[cs]e|notice|copying)\.(map|[cm]?ts|md|markdown)$/i,
  new RegExp(`/onnxruntime-node/bin/napi-v\\d+/(?!${platform}/${arch}/)`),
  new RegExp(`/@node-llama-cpp/(?!${platform}-${arch}[-/])`),
  // What node-llama-cpp calls. Oriel calls the libraries themselves.
  /\/@node-llama-cpp\/.*\/(llama-addon\.node|libllama-common\.so)$/,
  /\/@libsql\/[^/]*-musl\/|\/koffi-[^/]*\/musl_/,
  // Those that need a FFmpeg of the system. The other one has its own.
  /\/node-webcodecs\/prebuilds\//,
  // The same code for bundlers and browsers.
  /\/@opentelemetry\/[^/]+\/build\/(esm|esnext)\/|\/mediabunny\/dist\/bundles\//,
  /\/libheif-js\/(libheif\/|libheif-wasm\/(?!libheif-bundle\.js|LICENSE))/,
]

/** Converters of text encodings, which Node does not use, and documents, except for licences. */
const unusedOfDebian = /\/gconv\/|^usr\/(share\/(?!doc\/[^/]+\/copyright|common-licenses)|games|src|include)/

/** @param {string} root an empty folder @param {string} device `cuda` adds the package for NVIDIA's GPUs */
function makeImage(root, device) {
  if (existsSync(root) && readdirSync(root).length > 0) throw new Error(`${root} is not empty`)
  const work = mkdtempSync(path.join(tmpdir(), 'oriel-image-'))
  try {
    addDebian(root, work)
    addOriel(path.join(root, 'opt/oriel'), work, device)
  } finally {
    rmSync(work, { recursive: true })
  }
  const bin = path.join(root, 'usr/local/bin')
  mkdirSync(bin, { recursive: true })
  // Its symbols are a sixth of it.
  run('strip', ['-o', path.join(bin, 'node'), execPath], bin)
  writeFileSync(path.join(bin, 'oriel'), "#!/usr/local/bin/node\nimport('/opt/oriel/bin/oriel.js')\n", { mode: 0o755 })
}

function addDebian(/** @type {string} */ root, /** @type {string} */ work) {
  for (const folder of ['dev', 'etc', 'proc', 'sys', 'tmp', 'data', 'var/lib/dpkg/status.d'])
    mkdirSync(path.join(root, folder), { recursive: true })
  // apt downloads as a user of its own where it may.
  chmodSync(work, 0o777)
  run('apt-get', ['download', '-qq', ...debianPackages], work)
  for (const file of readdirSync(work)) {
    const archive = path.join(work, file)
    run('dpkg-deb', ['--extract', archive, root], work)
    // Scanners for vulnerabilities find the versions here.
    const control = execFileSync('dpkg-deb', ['--field', archive])
    writeFileSync(path.join(root, 'var/lib/dpkg/status.d', file.replace(/_.*/, '')), control)
    rmSync(archive)
  }
  remove(root, (file) => unusedOfDebian.test(file))
  const { name, id, home } = user
  writeFileSync(path.join(root, 'etc/passwd'), `root:x:0:0:root:/:/none\n${name}:x:${id}:${id}::${home}:/none\n`)
  writeFileSync(path.join(root, 'etc/group'), `root:x:0:\n${name}:x:${id}:\n`)
  writeFileSync(path.join(root, 'etc/nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n')
  chmodSync(path.join(root, 'tmp'), 0o1777)
  if (process.getuid?.() === 0) chownSync(path.join(root, 'data'), id, id)
}

function addOriel(/** @type {string} */ to, /** @type {string} */ work, /** @type {string} */ device) {
  mkdirSync(to, { recursive: true })
  const file = execFileSync(execPath, ['scripts/package.js', work], { cwd: source, encoding: 'utf8' }).trim()
  run('tar', ['--extract', '--gzip', '--file', file, '--strip-components', '1', '--directory', to], work)
  rmSync(file)
  // With the versions of the lock, and without what is a part of `dist/` or came with the package.
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(path.join(source, 'package.json'), 'utf8'))
  const present = new Set([...inlined, 'onnxruntime-node'])
  const wanted = Object.entries({ ...dependencies, ...optionalDependencies }).filter(([name]) => !present.has(name))
  const llama = `@node-llama-cpp/${platform}-${arch}`
  if (device !== 'cpu') wanted.push([`${llama}-${device}`, optionalDependencies[llama]])
  writeFileSync(
    path.join(work, 'package.json'),
    JSON.stringify({ private: true, optionalDependencies: Object.fromEntries(wanted) }),
  )
  cpSync(path.join(source, 'package-lock.json'), path.join(work, 'package-lock.json'))
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'], work)
  cpSync(path.join(work, 'node_modules'), path.join(to, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  for (const folder of ['dist', 'node_modules'])
    remove(path.join(to, folder), (file) => unused.some((pattern) => pattern.test(`/${file}`)))
}

/** Removes files by their paths in a folder. */
function remove(/** @type {string} */ folder, /** @type {(file: string) => boolean} */ isUnused) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath ?? entry.path, entry.name)
    if (!entry.isDirectory() && isUnused(path.relative(folder, file))) rmSync(file)
  }
}

const run = (/** @type {string} */ program, /** @type {string[]} */ args, /** @type {string} */ cwd) =>
  execFileSync(program, args, { cwd, stdio: ['ignore', 2, 2] })

const [root, device = 'cpu'] = process.argv.slice(2)
if (root === undefined || !['cpu', 'cuda'].includes(device)) {
  process.stderr.write('usage: node scripts/image.js <an empty folder> [cpu | cuda]\n')
  process.exit(1)
}
makeImage(path.resolve(root), device)
