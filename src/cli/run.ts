import { OrielError } from '../errors.ts'
import { estimatedBytes, NotPulled } from '../models/index.ts'
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
    // Of what is neither here nor in the catalogue, only a repository or a URL can be downloaded.
    if (!(error instanceof NotPulled) && !name.includes('/')) throw error
    if (!yes && !(await confirmed(`${name} is not on this machine. Download it${size}? [y/N] `))) return undefined
    await pullModel(name, flags)
    return library.find(name, flags.mmproj)
  })
  if (card !== undefined) await ask(words, { ...flags, model: name.endsWith('.gguf') ? name : card.id })
}
