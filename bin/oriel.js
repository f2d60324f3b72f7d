#!/usr/bin/env node
import { existsSync } from 'node:fs'

// A clone compiles its sources when they have changed. The package has no sources, and no build script.
const build = new URL('../scripts/build.js', import.meta.url)
if (existsSync(build)) (await import(build.href)).default()
await import('../dist/cli/main.js')
