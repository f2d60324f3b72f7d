import { createInterface } from 'node:readline/promises'
import { OrielError } from '../errors.ts'

/** Whether the person at the terminal says yes. @throws OrielError if there is no terminal */
export async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new OrielError('invalid', 'There is no terminal to confirm at: use --yes.')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new AbortController()
  terminal.once('close', () => closed.abort())
  try {
    return /^y(es)?$/i.test((await terminal.question(question, { signal: closed.signal })).trim())
  } catch (error) {
    // Ctrl-C and Ctrl-D mean no.
    if (!(error instanceof Error && error.name === 'AbortError')) throw error
    process.stderr.write('\n')
    return false
  } finally {
    terminal.close()
  }
}
