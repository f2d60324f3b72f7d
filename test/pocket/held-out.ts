import { readFileSync } from 'node:fs'
import { postJson } from '../support/http.ts'

/** A question that is not in the training data, in the format of pocket/held_out.py. */
interface Case {
  skill: string
  /** A number in the content is the index of an image. */
  messages: { role: string; content: (string | number)[] }[]
  answer: string
}

export interface Outcome extends Case {
  said: string
}

interface HeldOut {
  /** As data URLs. */
  images: string[]
  cases: Case[]
}

export function readHeldOut(): HeldOut {
  const lines: (Case | { picture: string })[] = JSON.parse(
    readFileSync(new URL('./held-out.json', import.meta.url), 'utf8'),
  )
  const images: string[] = []
  const cases: Case[] = []
  for (const line of lines) {
    if ('picture' in line)
      images.push(`data:image/${line.picture.startsWith('/9j') ? 'jpeg' : 'png'};base64,${line.picture}`)
    else cases.push(line)
  }
  return { images, cases }
}

/** Asks the server all cases at temperature 0, eight at a time. */
export async function askAll(url: string, { images, cases }: HeldOut): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let next = 0
  const client = async () => {
    for (let one = cases[next++]; one !== undefined; one = cases[next++])
      outcomes.push({ ...one, said: await ask(url, one, images) })
  }
  await Promise.all(Array.from({ length: 8 }, client))
  return outcomes
}

async function ask(url: string, { messages }: Case, images: readonly string[]): Promise<string> {
  const part = (content: string | number) =>
    typeof content === 'string'
      ? { type: 'text', text: content }
      : { type: 'image_url', image_url: { url: images[content] } }
  const response = await postJson(`${url}/v1/chat/completions`, {
    model: 'pocket',
    temperature: 0,
    max_tokens: 48,
    messages: messages.map(({ role, content }) => ({
      role,
      content: role === 'user' ? content.map(part) : content.join(''),
    })),
  })
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] }
  return choices[0]?.message.content ?? ''
}
