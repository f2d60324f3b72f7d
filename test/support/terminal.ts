import { execFileSync, spawn } from 'node:child_process'
import { platform } from 'node:os'
import { root } from './cli.ts'

/** Whether a command can be given a terminal: `script` of util-linux makes one. */
export const hasTerminals = ((): boolean => {
  if (platform() !== 'linux') return false
  try {
    return execFileSync('script', ['--version'], { encoding: 'utf8' }).includes('util-linux')
  } catch {
    return false
  }
})()

/** Keys. */
export const ctrlC = '\u0003'
export const ctrlD = '\u0004'

/**
 * Runs `oriel` at a terminal.
 * @param steps a text that the command writes, and the keys that a person presses then
 * @returns all that the terminal showed, without control sequences
 */
export async function atTerminal(
  args: readonly string[],
  steps: readonly (readonly [after: string, keys: string])[],
  env: Readonly<Record<string, string>> = {},
  cwd = root,
): Promise<{ code: number | null; shown: string }> {
  const command = [process.execPath, `${root}bin/oriel.js`, ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    cwd,
    env: { ...process.env, ORIEL_PORT: '9', TERM: 'xterm', ...env },
  })
  const left = [...steps]
  let [shown, unread] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
    unread += text
    for (const [after, keys] of [...left]) {
      const at = unread.indexOf(after)
      if (at < 0) return
      unread = unread.slice(at + after.length)
      left.shift()
      if (keys !== '') return void child.stdin.write(keys)
    }
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  if (left.length > 0) throw new Error(`${JSON.stringify(left[0]?.[0])} was not shown after: ${shown}`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what is removed begins with one.
  return { code, shown: shown.replaceAll(/\u001b\[[\d;?]*[A-Za-z]|\r/g, '') }
}
