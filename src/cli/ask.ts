import { readFile } from 'node:fs/promises'
import { chatRequest, parseBody, readChat, startAnswer } from '../api/index.ts'
import { deploy, startEmbedded } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { createMedia } from '../media/index.ts'
import { findModel } from '../models/index.ts'
import { configOf } from './settings.ts'

export interface AskFlags {
  model?: string
  mmproj?: string
  system?: string
}

/**
 * `oriel ask a.png b.png "question"`: writes the answer to the terminal as it comes.
 * @param words pictures, and the question last
 * @throws OrielError with one sentence for the person
 */
export async function ask(words: readonly string[], { model, mmproj, system }: AskFlags): Promise<void> {
  const question = words.at(-1) ?? ''
  const pictures = await Promise.all(words.slice(0, -1).map(urlOf))
  const config = configOf({ model })
  const log = createLogger(config.logLevel)
  const card = await findModel(config.model, mmproj)
  const backend = await startEmbedded(card, config.engine, log)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  try {
    const body = parseBody(chatRequest, {
      model: card.id,
      context_length_exceeded_behavior: 'truncate',
      messages: [
        ...(system === undefined ? [] : [{ role: 'system', content: system }]),
        {
          role: 'user',
          content: [
            ...pictures.map((url) => ({ type: 'image_url', image_url: { url } })),
            { type: 'text', text: question },
          ],
        },
      ],
    })
    const rooms = { deployments: deploy([backend]), media: createMedia(config.media) }
    const request = readChat(body, { dialect: 'openai', isolationKey: '', requestId: '' })
    const answer = await startAnswer(rooms, request, stop.signal)
    for await (const event of answer.events) if (event.type === 'part') process.stdout.write(event.raw)
    process.stdout.write('\n')
  } catch (error) {
    throw error instanceof OrielError ? named(error, words) : error
  } finally {
    await backend.close()
  }
}

/** The API's errors name a part of the request; a person at the terminal knows the picture by its file's name. */
function named(error: OrielError, words: readonly string[]): OrielError {
  const index = /content\[(\d+)\]/.exec(error.param ?? '')?.[1]
  const word = index === undefined ? undefined : words[Number(index)]
  return word === undefined ? error : new OrielError(error.kind, `${word}: ${error.message}`)
}

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
