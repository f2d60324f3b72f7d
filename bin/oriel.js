#!/usr/bin/env node
import { existsSync } from 'node:fs'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 9)) {
  process.stderr.write(
    `oriel: Oriel needs Node.js 20.9 or newer, and this is ${process.versions.node}. nodejs.org has it.\n`,
  )
  process.exit(1)
}

// A clone compiles its sources when they have changed. The package has no sources, and no build script.
const build = new URL('../scripts/build.js', import.meta.url)
try {
  if (existsSync(build)) await (await import(build.href)).default()
  await import('../dist/cli-main.js')
} catch (error) {
  const [reason] = error.message.split('\n')
  const cure =
    error.code === 'EMFILE'
      ? 'Raise the limit of open files: ulimit -n 4096.'
      : 'Install it again: npm i -g oriel, or npm ci in a clone.'
  process.stderr.write(`oriel: Oriel cannot start (${reason}). ${cure}\n`)
  process.exit(1)
}
