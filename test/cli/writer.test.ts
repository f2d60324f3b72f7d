import { afterEach, expect, it, vi } from 'vitest'
import { toTerminal } from '../../src/cli/writer.ts'

const wasTerminal = process.stdout.isTTY
afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  process.stdout.isTTY = wasTerminal
})

/** What a person sees at a terminal. */
function written(): string[] {
  const all: string[] = []
  process.stdout.isTTY = true
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => all.push(String(text)) > 0)
  return all
}

it('a thought is grey, and what comes after it is not, also if the answer breaks off', () => {
  vi.stubEnv('NO_COLOR', '')
  const all = written()
  const whole = toTerminal()
  whole.text('Hm.', 'thought')
  whole.text('Red.', 'text')
  whole.end()
  const broken = toTerminal()
  broken.text('Hm.', 'thought')
  broken.breakOff()
  expect(all.join('')).toBe('\u001b[2mHm.\u001b[0m\nRed.\n\u001b[2mHm.\u001b[0m\n')
})

it('with NO_COLOR a thought stands in lines of its own, without a colour', () => {
  vi.stubEnv('NO_COLOR', '1')
  const all = written()
  const writer = toTerminal()
  writer.text('Hm.', 'thought')
  writer.text('Red.', 'text')
  writer.end()
  expect(all.join('')).toBe('Hm.\nRed.\n')
})
