import { readFileSync } from 'node:fs'
import { platform } from 'node:os'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { root, run } from '../support/cli.ts'
import { startServer, type TestServer } from '../support/server.ts'

const page = readFileSync(`${root}docs/cli.md`, 'utf8')
const examples = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, block = '']) => block.trim().split('\n'))

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

describe('docs/cli.md', () => {
  it('has every command, and every flag of `oriel ask`', () => {
    const program = createProgram()
    const shown = (parent: Command): Command[] => parent.createHelp().visibleCommands(parent)
    for (const command of shown(program).filter((one) => one.name() !== 'ask')) {
      for (const name of [command.name(), ...command.aliases()]) expect(page).toContain(`\`oriel ${name}`)
      for (const nested of shown(command)) expect(page).toContain(`\`oriel ${command.name()} ${nested.name()}`)
    }
    for (const { long } of shown(program).find((one) => one.name() === 'ask')?.options ?? [])
      expect(page).toContain(`\`${long}\``)
  })

  it.skipIf(platform() === 'win32').each(examples)('has examples that answer: %s', async (line) => {
    const script = `oriel() { '${process.execPath}' bin/oriel.js "$@"; }; ${line}`
    const { code, stdout, stderr } = await run('bash', ['-c', script], {
      env: { ORIEL_PORT: new URL(server.url).port },
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/red circle|first image|each image/)
  })
})
