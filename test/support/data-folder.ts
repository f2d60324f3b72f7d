import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll } from 'vitest'

/** The servers of a test file have accounts and models in a folder of their own, not in that of the person who runs the tests. */
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-data-'))
process.env.ORIEL_DATA_DIR = folder
process.env.ORIEL_MODELS_DIR = path.join(folder, 'models')
afterAll(() => rmSync(folder, { recursive: true, force: true }))
