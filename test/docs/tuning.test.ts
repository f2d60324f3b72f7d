import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { run } from '../support/cli.ts'
import { shortRun } from '../support/long.ts'
import { writeParts } from '../support/parts.ts'
import { root, textOf } from './pages.ts'

const page = textOf('docs/tuning.md')
const blocks = [...page.matchAll(/^```(?:sh|bash)\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block.trim())
const commands = blocks.flatMap((block) => block.split('\n')).filter((line) => line.startsWith('oriel '))

describe('docs/tuning.md', () => {
  it('has commands and flags that there are', () => {
    expect(commands.length).toBeGreaterThan(5)
    for (const line of commands) {
      const words = line.split(' ').slice(1)
      let command: Command = createProgram()
      for (;;) {
        const nested = command.commands.find((one) => one.name() === words[0])
        if (nested === undefined) break
        command = nested
        words.shift()
      }
      expect(command.parent, line).not.toBeNull()
      const flags = command.options.flatMap(({ long, short }) => [long, short])
      for (const word of words.filter((one) => one.startsWith('-'))) expect(flags, line).toContain(word)
    }
  })
})

describe.skipIf(shortRun)('docs/tuning.md, followed from the beginning to the end', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-docs-tuning-'))
  const env = {
    ORIEL_MODELS_DIR: path.join(folder, 'models'),
    ORIEL_DATA_DIR: path.join(folder, 'data'),
    XDG_CACHE_HOME: path.join(folder, 'cache'),
  }
  beforeAll(async () => {
    await writeParts(folder, 'parts', 50, 1)
    await writeParts(folder, 'held-out', 40, 99)
    cpSync(path.join(root, 'examples/sample.png'), path.join(folder, 'examples/sample.png'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('does what it says', { timeout: 600_000 }, async () => {
    const said: string[] = []
    for (const line of commands) {
      const script = `oriel() { '${process.execPath}' '${root}/bin/oriel.js' "$@"; }; ${line}`
      const { code, stdout, stderr } = await run('bash', ['-c', script], { cwd: folder, env })
      expect({ line, code, stderr: code === 0 ? '' : stderr }).toEqual({ line, code: 0, stderr: '' })
      said.push(stdout)
    }
    const [validated, before, , after, asked, merged] = said
    expect(validated).toMatch(/50 examples, 50 answers, 50 pictures/)
    expect(before).toMatch(/^pocket +0\.0 % +40 +0$/m)
    const [, right] = /^parts +([\d.]+) % +40 +0$/m.exec(after ?? '') ?? []
    expect(Number(right)).toBeGreaterThanOrEqual(95)
    expect(asked).toBe('- red circle\n')
    expect(merged).toContain('parts.gguf')
  })
})
