import { OrielError } from '../errors.ts'
import { estimatedBytes, type Library, NotPulled } from '../models/index.ts'
import { bytesText } from '../sizes.ts'
import type { AskFlags } from './answerer.ts'
import { ask } from './ask.ts'
import { confirmed } from './confirmed.ts'
import { pullModel } from './pull.ts'
import { libraryOf } from './settings.ts'

/** `oriel run`: downloads a model after a confirmation if it is not here, then asks it or chats. */
export async function run(
  name: string,
  words: readonly string[],
  { yes, ...flags }: AskFlags & { yes?: boolean },
): Promise<void> {
  // What is on the machine of another server is for it to say.
  if (flags.server !== undefined) return ask(words, { ...flags, model: name })
  const library = libraryOf(flags)
  const card = await library.find(name, flags.mmproj).catch(async (error: unknown) => {
    if (!(error instanceof OrielError) || error.code !== 'model_not_found') throw error
    if ((await library.adapter(name.slice(name.indexOf('#') + 1))) !== undefined) return { id: name }
    const size = error instanceof NotPulled ? ` (about ${bytesText(estimatedBytes(error.entry))})` : ''
    if (!(error instanceof NotPulled) && !canBePulled(name, library)) throw error
    if (!yes && !(await confirmed(`${name} is not on this machine. Download it${size}? [y/N] `))) return undefined
    // What names it for a download may be a URL or a file of a repository: that is not its name here.
    const { id } = await pullModel(name, flags, process.stderr).catch(endAsAsking)
    return { id, isPulled: true }
  })
  if (card === undefined) return
  await ask(words, { ...flags, model: name.endsWith('.gguf') && !('isPulled' in card) ? name : card.id })
}

/** Ctrl-C ends it as it ends the answer. What is kept of the download is said before. */
function endAsAsking(error: unknown): never {
  if (!(error instanceof OrielError) || error.kind !== 'cancelled') throw error
  process.stderr.write(`oriel: ${error.message}\n`)
  throw new OrielError('cancelled', error.message, { code: 'interrupted', cause: error })
}

/** Whether it is a repository or a URL, or a model of the catalogue in one of its forms. */
function canBePulled(name: string, library: Library): boolean {
  try {
    return name.includes('/') || library.onHub(name) !== undefined
  } catch {
    return false
  }
}
