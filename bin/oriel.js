#!/usr/bin/env node
import { existsSync } from 'node:fs'

// Only a clone has this script: the package is compiled already.
const build = new URL('../scripts/build.js', import.meta.url)
if (existsSync(build)) (await import(build.href)).buildIfStale()
await import('../dist/cli/main.js')
