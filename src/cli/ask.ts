import { readFile, stat } from 'node:fs/promises'
import { chatRequest, parseBody, readChat, startAnswer } from '../api/index.ts'
import { deploy, embedded } from '../deployments/index.ts'
import { chooseDevice } from '../engine/devices.ts'
import { OrielError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { createMedia, type Media } from '../media/index.ts'
import { cardsOf, configOf, libraryOf, ownMemory, placesOf } from './settings.ts'

export interface AskFlags {
  model?: string
  mmproj?: string
  modelsDir?: string
  gpu?: string
  system?: string
  pages?: string
  batch?: number
}

const dayMs = 86_400_000

/**
 * `oriel ask a.png b.pdf "question"`: writes the answer to the terminal as it comes. What is more than fits into one
 * question is asked about in parts, and the answers are put together by the model.
 * @param words pictures, and the question last
 * @throws OrielError with one sentence for the person
 */
export async function ask(
  words: readonly string[],
  { model, mmproj, modelsDir, gpu, system, pages, batch }: AskFlags,
): Promise<void> {
  const question = words.at(-1) ?? ''
  if (await isPicture(question))
    throw new OrielError('invalid', `The question is missing: oriel ask ${words.join(' ')} "What is in this image?"`)
  const files = await Promise.all(words.slice(0, -1).map(async (name) => ({ name, url: await urlOf(name) })))
  const config = configOf({
    model: model === undefined ? undefined : [model],
    engine: { gpu },
    // Nobody else waits, and a person sees that it takes long.
    loading: { timeoutMs: dayMs },
    // The files are the person's own, and no request's body.
    media: { maxImages: batch, maxBase64Bytes: Number.MAX_SAFE_INTEGER },
    ...placesOf(modelsDir),
  })
  const log = createLogger(config.logLevel)
  const library = libraryOf(config)
  const [cards, compute] = await Promise.all([cardsOf(library, config, mmproj), chooseDevice(config.engine.gpu, log)])
  const start = embedded(config, compute.device, log)
  const deployments = deploy({ config, library, cards, start, gpuMemory: ownMemory(compute), log })
  const rooms = { deployments, media: createMedia(config.media, log) }
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())

  const answer = async (parts: readonly Part[], text: string): Promise<string> => {
    try {
      const body = parseBody(chatRequest, {
        model: cards[0]?.id,
        context_length_exceeded_behavior: 'truncate',
        messages: messagesOf(parts, text, system),
      })
      const request = readChat(body, { dialect: 'openai', isolationKey: '', requestId: '' })
      let said = ''
      for await (const event of (await startAnswer(rooms, request, stop.signal)).events)
        if (event.type === 'part') {
          process.stdout.write(event.raw)
          said += event.raw
        }
      process.stdout.write('\n')
      return said
    } catch (error) {
      throw error instanceof OrielError ? named(error, parts) : error
    }
  }

  try {
    await answer(
      files.map((file) => ({ ...file, pages: pages === undefined ? undefined : choiceOf(pages) })),
      question,
    )
  } catch (error) {
    if (!(error instanceof OrielError) || error.code !== 'too_many_images' || pages !== undefined) throw error
    const answers: string[] = []
    for (const parts of await partsOf(files, rooms.media, config.media.maxImages, stop.signal)) {
      const heading = parts
        .map(({ name, pages }) => (pages === undefined ? name : `${name}, pages ${pages}`))
        .join('; ')
      process.stdout.write(`${heading}:\n`)
      answers.push(`${heading}:\n${await answer(parts, question)}`)
    }
    process.stdout.write('In all:\n')
    await answer([], `${answers.join('\n\n')}\n\nThese are answers about parts of the same. As one answer: ${question}`)
  } finally {
    await deployments.close()
  }
}

interface File {
  name: string
  url: string
}

/** A file in a question, or some pages of it. */
interface Part extends File {
  pages: string | number | undefined
}

/** `"8"` is how many, as in the API a number is. */
const choiceOf = (pages: string): string | number => (/^\d+$/.test(pages) ? Number(pages) : pages)

const messagesOf = (parts: readonly Part[], text: string, system: string | undefined) => [
  ...(system === undefined ? [] : [{ role: 'system', content: system }]),
  {
    role: 'user',
    content: [
      ...parts.map(({ url, pages }) => ({ type: 'image_url', image_url: { url, pages } })),
      { type: 'text', text },
    ],
  },
]

/** All pages of all files in their order, in parts of at most `most`. */
async function partsOf(files: readonly File[], media: Media, most: number, signal: AbortSignal): Promise<Part[][]> {
  const parts: Part[][] = []
  let room = 0
  for (const file of files) {
    const [first] = await media.load([{ url: file.url, param: file.name, pages: '1' }], 1, signal)
    const count = first?.format === 'pdf' ? first.pagesInFile : 1
    for (let page = 1; page <= count; ) {
      if (room === 0) {
        parts.push([])
        room = most
      }
      const taken = Math.min(room, count - page + 1)
      parts.at(-1)?.push({ ...file, pages: count === 1 ? undefined : `${page}-${page + taken - 1}` })
      page += taken
      room -= taken
    }
  }
  return parts
}

/** The API's errors name a part of the request; a person at the terminal knows the picture by its file's name. */
function named(error: OrielError, parts: readonly Part[]): OrielError {
  const index = /content\[(\d+)\]/.exec(error.param ?? '')?.[1]
  const part = index === undefined ? undefined : parts[Number(index)]
  return part === undefined ? error : new OrielError(error.kind, `${part.name}: ${error.message}`, { code: error.code })
}

const isPicture = async (word: string): Promise<boolean> =>
  /^https?:\S+$/i.test(word) ||
  stat(word).then(
    (found) => found.isFile(),
    () => false,
  )

async function urlOf(word: string): Promise<string> {
  if (/^https?:/i.test(word)) return word
  try {
    return `data:;base64,${(await readFile(word)).toString('base64')}`
  } catch {
    throw new OrielError(
      'not_found',
      `There is no picture at ${word}. Pictures come first, the question last, in quotes.`,
    )
  }
}
