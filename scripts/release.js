/**
 * Publishes the version of package.json and tags it, unless the registry has it: `npm run release`, for the workflow.
 * The package is tested as installed before it is published.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const { name, version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))

function run(/** @type {string} */ command, /** @type {string[]} */ args, env = {}) {
  execFileSync(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: 'inherit' })
}

/** A name or a version that the registry does not have makes npm fail. */
function isPublished() {
  const view = ['view', `${name}@${version}`, 'version']
  try {
    return (
      execFileSync('npm', view, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim() === version
    )
  } catch {
    return false
  }
}

if (!isPublished()) {
  const file = execFileSync(process.execPath, ['scripts/package.js'], { cwd: root, encoding: 'utf8' }).trim()
  run('npm', ['run', 'test:package'], { TESTED_PACKAGE: file })
  run('npm', ['publish', file, '--access', 'public'])
  rmSync(file)
  run('npx', ['changeset', 'tag'])
}
