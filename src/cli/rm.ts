import { createInterface } from 'node:readline/promises'
import { OrielError } from '../errors.ts'
import { bytesText } from './figures.ts'
import { type Flags, libraryOf } from './settings.ts'

/** `oriel rm`: removes the files of a model after a confirmation. @throws OrielError with one sentence for the person */
export async function remove(name: string, { yes, ...flags }: Flags & { yes?: boolean }): Promise<void> {
  const removal = await libraryOf(flags).removal(name)
  if (!yes && !(await confirmed(`Remove ${removal.id} (${removal.files.join(', ')})? [y/N] `))) return
  process.stdout.write(`${removal.id} was removed: ${bytesText(await removal.remove())} freed.\n`)
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY)
    throw new OrielError('invalid', 'There is no terminal to confirm at: use --yes to remove without a question.')
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const closed = new AbortController()
  terminal.once('close', () => closed.abort())
  try {
    return /^y(es)?$/i.test((await terminal.question(question, { signal: closed.signal })).trim())
  } catch (error) {
    // Ctrl-C and Ctrl-D mean no.
    if (!(error instanceof Error && error.name === 'AbortError')) throw error
    process.stdout.write('\n')
    return false
  } finally {
    terminal.close()
  }
}
