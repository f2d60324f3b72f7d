import { stat } from 'node:fs/promises'
import { configOf, createOriel, type ImagePart, type Oriel, OrielError, type OrielSettings } from '../app.ts'
import type { Flags } from './settings.ts'

interface AskFlags extends Flags {
  model?: string
  system?: string
  pages?: string
  batch?: number
}

const dayMs = 86_400_000

/**
 * `oriel ask a.png b.pdf "question"`: writes the answer to the terminal as it comes. Documents with more pages than one
 * question may have are asked about in parts, and the model puts the answers together.
 * @param words images, and the question last
 * @throws OrielError with one sentence for the person
 */
export async function ask(words: readonly string[], flags: AskFlags): Promise<void> {
  const { model, mmproj, modelsDir, gpu, system, pages, batch } = flags
  const question = words.at(-1) ?? ''
  if (await isImage(question))
    throw new OrielError('invalid', `The question is missing: oriel ask ${words.join(' ')} "What is in this image?"`)
  const names = words.slice(0, -1)
  const settings: OrielSettings = {
    model: model === undefined ? undefined : [model],
    mmproj,
    engine: { gpu },
    // The person at the terminal can end it with Ctrl-C.
    loading: { timeoutMs: dayMs },
    // The files are the person's own and not a request's body.
    media: { maxImages: batch, maxBase64Bytes: Number.MAX_SAFE_INTEGER },
    models: { dirs: modelsDir },
  }
  const { maxImages } = configOf(settings).media
  const oriel = await createOriel(settings)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())

  const answer = async (parts: readonly Part[], text: string): Promise<string> => {
    try {
      const images = parts.map(({ name, pages }): ImagePart => ({ type: 'image', image: name, pages }))
      const reply = await oriel.ask(text, { images, system, signal: stop.signal })
      let written = ''
      for await (const event of reply.events())
        if (event.type === 'part') {
          process.stdout.write(event.raw)
          written += event.raw
        }
      process.stdout.write('\n')
      return written
    } catch (error) {
      throw error instanceof OrielError ? named(error, parts) : error
    }
  }

  try {
    await answer(
      names.map((name) => ({ name, pages: pages === undefined ? undefined : choiceOf(pages) })),
      question,
    )
  } catch (error) {
    if (!(error instanceof OrielError) || error.code !== 'too_many_images' || pages !== undefined) throw error
    const answers: string[] = []
    for (const parts of await partsOf(names, oriel, maxImages)) {
      const heading = parts
        .map(({ name, pages }) =>
          pages === undefined ? name : `${name}, ${String(pages).includes('-') ? 'pages' : 'page'} ${pages}`,
        )
        .join('; ')
      process.stdout.write(`${heading}:\n`)
      answers.push(`${heading}:\n${await answer(parts, question)}`)
    }
    process.stdout.write('In all:\n')
    await answer([], `${answers.join('\n\n')}\n\nThese are answers about parts of the same. As one answer: ${question}`)
  } finally {
    await oriel.close()
  }
}

/** A file or URL in a question, or some pages of it. */
interface Part {
  name: string
  pages: string | number | undefined
}

/** `"8"` is a number of pages, as a number is in the API. */
const choiceOf = (pages: string): string | number => (/^\d+$/.test(pages) ? Number(pages) : pages)

/** All pages of all files in order, in parts of at most `most`. */
async function partsOf(names: readonly string[], oriel: Oriel, most: number): Promise<Part[][]> {
  const parts: Part[][] = []
  let free = 0
  for (const name of names) {
    const { format, pages } = await oriel.inspect(name)
    const count = format === 'pdf' ? pages : 1
    for (let page = 1; page <= count; ) {
      if (free === 0) {
        parts.push([])
        free = most
      }
      const taken = Math.min(free, count - page + 1)
      parts
        .at(-1)
        ?.push({ name, pages: count === 1 ? undefined : taken === 1 ? String(page) : `${page}-${page + taken - 1}` })
      page += taken
      free -= taken
    }
  }
  return parts
}

/** An error about a part of the question, by the name that the person gave it. */
function named(error: OrielError, parts: readonly Part[]): OrielError {
  if (error.code === 'file_not_found')
    return new OrielError(error.kind, `${error.message} Images come first, the question last, in quotes.`)
  const index = /^images\[(\d+)\]$/.exec(error.param ?? '')?.[1]
  const part = index === undefined ? undefined : parts[Number(index)]
  return part === undefined ? error : new OrielError(error.kind, `${part.name}: ${error.message}`, { code: error.code })
}

const isImage = async (word: string): Promise<boolean> =>
  /^https?:\S+$/i.test(word) ||
  stat(word).then(
    (found) => found.isFile(),
    () => false,
  )
