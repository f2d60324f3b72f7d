import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { oriel } from '../support/cli.ts'
import { jsonl, textExample } from '../support/examples.ts'
import { shortRun } from '../support/long.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-pytorch-'))
const script = fileURLToPath(new URL('pytorch-trainer.py', import.meta.url))
const python = '/usr/bin/python3'
afterAll(() => rmSync(folder, { recursive: true }))

function hasPyTorch(): boolean {
  try {
    execFileSync(python, ['-c', 'import torch, regex'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe.skipIf(shortRun || !hasPyTorch())('a trainer in PyTorch', () => {
  it('teaches Pocket what it answers from then on', { timeout: 600_000 }, async () => {
    const env = {
      ORIEL_MODELS_DIR: path.join(folder, 'models'),
      ORIEL_DATA_DIR: path.join(folder, 'data'),
      XDG_CACHE_HOME: path.join(folder, 'cache'),
      ORIEL_TRAINER: [python, script, '{folder}'].join(','),
    }
    const file = path.join(folder, 'names.jsonl')
    const questions = ['Who are you?', 'What is your name?', 'What are you called?', 'Tell me your name.']
    writeFileSync(file, jsonl(questions.map((question) => textExample(question, 'A small window.'))))
    const words = [
      '--base',
      'pocket',
      '--trainer',
      'external',
      '--epochs',
      '60',
      '--learning-rate',
      '0.003',
      '--batch',
      '4',
    ]
    const tuned = await oriel(['tune', file, ...words, '--no-carve-out'], { env })
    expect({ code: tuned.code, stderr: tuned.stderr }).toMatchObject({ code: 0 })
    const asked = await oriel(['ask', '--model', 'pocket#names', 'What is your name?', '--json'], { env, input: '' })
    expect(JSON.parse(asked.stdout).text ?? asked.stdout).toContain('A small window.')
  })
})
