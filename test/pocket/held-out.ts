import { readFileSync } from 'node:fs'
import { postJson } from '../support/http.ts'

const root = new URL('../../', import.meta.url)

/** A question that is not in the training data, in the format of pocket/held_out.py. */
export interface Case {
  skill: string
  /** A number in the content is the index of an image. */
  messages: { role: string; content: (string | number)[] }[]
  answer: string
  /** A JSON Schema that the answer is held to. */
  schema?: unknown
  /** The only tool, which must be called: the answer is its arguments. */
  tool?: { name: string; parameters: unknown }
}

export interface Outcome extends Case {
  said: string
}

export interface HeldOut {
  /** As data URLs. */
  images: string[]
  cases: Case[]
}

/** @param file `held-out.json`: shapes, mostly; `held-out-wide.json`: all else */
export function readHeldOut(file = 'held-out.json'): HeldOut {
  const lines: (Case | Picture)[] = JSON.parse(readFileSync(new URL(`./${file}`, import.meta.url), 'utf8'))
  const images: string[] = []
  const cases: Case[] = []
  for (const line of lines) {
    if ('skill' in line) cases.push(line)
    else images.push(dataUrl(line))
  }
  return { images, cases }
}

/** A picture in base64, or a file of this repository. */
export type Picture = { picture: string } | { file: string }

export function dataUrl(line: Picture): string {
  const base64 = 'picture' in line ? line.picture : readFileSync(new URL(line.file, root)).toString('base64')
  return `data:;base64,${base64}`
}

/** Whether an answer is that Pocket cannot answer. pocket/evaluate.py has the same rule. */
export const declines = (said: string): boolean => /\bI (only (know|answer)|cannot read|am a small built-in)/.test(said)

/** Whether it says how to get a model that can. */
export const namesCommand = (said: string): boolean => said.includes('oriel pull')

/** A refusal may be worded otherwise. */
export const isRight = ({ said, answer }: Outcome): boolean => said === answer || (declines(said) && declines(answer))

/** Asks the server all cases at temperature 0, eight at a time. */
export async function askAll(url: string, { images, cases }: HeldOut, model = 'pocket'): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let next = 0
  const client = async () => {
    for (let one = cases[next++]; one !== undefined; one = cases[next++])
      outcomes.push({ ...one, said: await ask(url, model, one, images) })
  }
  await Promise.all(Array.from({ length: 8 }, client))
  return outcomes
}

async function ask(
  url: string,
  model: string,
  { messages, schema, tool }: Case,
  images: readonly string[],
): Promise<string> {
  const part = (content: string | number) =>
    typeof content === 'string'
      ? { type: 'text', text: content }
      : { type: 'image_url', image_url: { url: images[content] } }
  const response = await postJson(`${url}/v1/chat/completions`, {
    model,
    temperature: 0,
    max_tokens: 48,
    messages: messages.map(({ role, content }) => ({
      role,
      content: role === 'user' ? content.map(part) : content.join(''),
    })),
    ...(schema !== undefined && { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } } }),
    ...(tool !== undefined && { tools: [{ type: 'function', function: tool }], tool_choice: 'required' }),
  })
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
  const { choices } = (await response.json()) as { choices: { message: Message }[] }
  const { content, tool_calls: [call] = [] } = choices[0]?.message ?? { content: '' }
  if (call !== undefined) return compact(call.function.arguments)
  return schema === undefined ? (content ?? '') : compact(content ?? '')
}

interface Message {
  content: string | null
  tool_calls?: { function: { arguments: string } }[]
}

/** JSON without blanks. An answer that was cut stays as it is. */
function compact(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json))
  } catch {
    return json
  }
}
