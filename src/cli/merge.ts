import { OrielError } from '../errors.ts'
import { bytesText } from '../sizes.ts'
import { type MergedType, merge } from '../tuning/index.ts'
import { interruption } from './interruption.ts'
import { type Flags, libraryOf } from './settings.ts'

/** The interval between updates of the line, in ms. */
const redraw = 100

/** `oriel merge`: writes a model with an adapter in it. @throws OrielError with one sentence for the person */
export async function mergeModel(
  name: string,
  adapterName: string,
  { output, type, json, ...flags }: Flags & { output: string; type?: MergedType; json?: boolean },
): Promise<void> {
  if (!output.endsWith('.gguf'))
    throw new OrielError('invalid', `The output ${output} must end with .gguf, by which models are found.`)
  const library = libraryOf(flags)
  const base = await library.find(name, flags.mmproj)
  const adapter = await library.adapterFor(base, adapterName)
  const moves = process.stderr.isTTY === true && !json
  let shown = 0
  const { files, matrices } = await merge({ base, adapter }, output, {
    type: type ?? null,
    signal: interruption(),
    onProgress(done, total) {
      if (!moves || (performance.now() - shown < redraw && done < total)) return
      shown = performance.now()
      process.stderr.write(`\r${Math.floor((done / total) * 100)}% of ${bytesText(total)}\u001b[K`)
    },
  }).finally(() => {
    if (moves && shown > 0) process.stderr.write('\r\u001b[K')
  })
  if (json) return void process.stdout.write(`${JSON.stringify({ matrices, files }, null, 2)}\n`)
  const written = files.map(({ path, bytes }) => `${path} (${bytesText(bytes)})`).join(' and ')
  process.stdout.write(
    `${base.id} with ${adapter.id}, which changes ${matrices === 1 ? '1 matrix' : `${matrices} matrices`}: ${written}.\n` +
      `Ask it: oriel ask --model ${output} photo.jpg "What is in this image?"\n`,
  )
}
