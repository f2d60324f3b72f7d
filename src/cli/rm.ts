import { createInterface } from 'node:readline/promises'
import { OrielError } from '../errors.ts'
import { removalOf } from '../models/index.ts'
import { bytesText } from './figures.ts'
import { modelsConfig } from './settings.ts'

export interface RemoveFlags {
  modelsDir?: string
  yes?: boolean
}

/** `oriel rm`: removes a model's files, when that is meant. @throws OrielError with one sentence for the person */
export async function remove(name: string, { modelsDir, yes = false }: RemoveFlags): Promise<void> {
  const removal = await removalOf(name, modelsConfig(modelsDir))
  if (!yes && !(await confirmed(`Remove ${removal.id} (${removal.files.join(', ')})? [y/N] `))) return
  process.stdout.write(`${removal.id} is removed: ${bytesText(await removal.remove())} are free.\n`)
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new OrielError('invalid', 'Nobody is there to ask: give --yes if it is meant.')
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const closed = new AbortController()
  terminal.once('close', () => closed.abort())
  try {
    return /^y(es)?$/i.test((await terminal.question(question, { signal: closed.signal })).trim())
  } catch (error) {
    // Ctrl-C and Ctrl-D are a no.
    if (!(error instanceof Error && error.name === 'AbortError')) throw error
    process.stdout.write('\n')
    return false
  } finally {
    terminal.close()
  }
}
