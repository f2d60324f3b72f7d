import { bytesText } from '../sizes.ts'
import { confirmed } from './confirmed.ts'
import { type Flags, libraryOf } from './settings.ts'

/** `oriel rm`: removes the files of a model after a confirmation. @throws OrielError with one sentence for the person */
export async function remove(name: string, { yes, ...flags }: Flags & { yes?: boolean }): Promise<void> {
  const removal = await libraryOf(flags).removal(name)
  if (!yes && !(await confirmed(`Remove ${removal.id} (${removal.files.join(', ')})? [y/N] `))) return
  process.stdout.write(`${removal.id} was removed: ${bytesText(await removal.remove())} freed.\n`)
}
