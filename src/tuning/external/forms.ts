import { createReadStream, createWriteStream } from 'node:fs'
import { link, stat } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { OrielError } from '../../errors.ts'
import { jsonLine } from '../../json.ts'
import { makeFolder } from '../../make-folder.ts'
import { type ExampleLine, exampleLine } from '../contract.ts'

/** The forms in which other programs read examples. Each makes a file beside those of the job. */
export const forms = {
  /** ms-swift: images in the order of the marks in the texts. */
  'ms-swift': (folder: string, split: Split) =>
    rewritten(folder, split, `ms-swift-${split}.jsonl`, (example) => {
      const { messages, tools } = withoutMarks(example)
      return {
        messages: messages.flatMap(({ role, content, tool_calls: calls = [] }) => [
          ...(content.length > 0 ? [{ role, content: markedText(content) }] : []),
          ...calls.map((call) => ({ role: 'tool_call', content: JSON.stringify(functionOf(call)) })),
        ]),
        images: imagesOf(messages).map((image) => path.join(folder, image)),
        ...(tools !== undefined && { tools: JSON.stringify(tools) }),
      }
    }),
  /** LLaMA-Factory: the same, listed in a `dataset_info.json`. */
  'llama-factory': (folder: string, split: Split) =>
    rewritten(folder, split, `llama-factory-${split}.json`, (example) => {
      const { messages } = withoutMarks(withoutTools(example))
      return {
        messages: messages.map(({ role, content }) => ({ role, content: markedText(content) })),
        images: imagesOf(messages).map((image) => path.join(folder, image)),
      }
    }),
  /** TRL: an image folder of `datasets`, whose images are beside its `metadata.jsonl`. */
  trl: async (folder: string, split: Split) => {
    const inside = path.join('trl', split === 'train' ? 'train' : 'validation')
    await makeFolder(path.join(folder, inside, 'images'))
    return rewritten(folder, split, path.join(inside, 'metadata.jsonl'), async (example) => {
      const { messages } = withoutTools(example)
      const images = imagesOf(messages)
      for (const image of images) {
        const beside = path.join(folder, inside, image)
        if ((await stat(beside).catch(() => null)) === null) await link(path.join(folder, image), beside)
      }
      return {
        images_file_names: images,
        messages: messages.map(({ role, content }) => ({
          role,
          content: content.map((part) => (part.type === 'text' ? part : { type: 'image', text: null })),
        })),
      }
    })
  },
  /** axolotl: images by their paths, within the messages. */
  axolotl: (folder: string, split: Split) =>
    rewritten(folder, split, `axolotl-${split}.jsonl`, ({ messages, tools }) => ({
      messages: messages.map(({ role, content, tool_calls }) => ({
        role,
        content: content.map((part) =>
          part.type === 'text' ? part : { type: 'image', path: path.join(folder, part.image) },
        ),
        ...(tool_calls !== undefined && { tool_calls }),
      })),
      ...(tools !== undefined && { tools }),
    })),
} as const

export type Split = 'train' | 'eval'
export type Form = keyof typeof forms

type Messages = ExampleLine['messages']

/** Writes the examples of a split in another form, one at a time. @returns the file, and how many it has; undefined: there is no such split */
async function rewritten(
  folder: string,
  split: Split,
  name: string,
  form: (example: ExampleLine) => object | Promise<object>,
): Promise<{ file: string; examples: number } | undefined> {
  const source = path.join(folder, `${split}.jsonl`)
  if ((await stat(source).catch(() => null)) === null) return undefined
  const file = path.join(folder, name)
  let examples = 0
  const lines = async function* (): AsyncGenerator<string> {
    const input = createReadStream(source)
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      yield `${jsonLine(await form(allLearned(exampleLine.parse(JSON.parse(line)))))}\n`
      examples++
    }
  }
  await pipeline(lines, createWriteStream(file))
  return { file, examples }
}

/** No form has a word for answers that are not learned. @throws OrielError `invalid` */
function allLearned(example: ExampleLine): ExampleLine {
  const at = example.messages.findIndex(({ weight }) => weight === 0)
  if (at < 0) return example
  throw refused(example, `messages[${at}].weight`, 'is 0, and the external trainer of this server learns each answer')
}

/** @throws OrielError `invalid` for an example that has tools or calls */
function withoutTools(example: ExampleLine): ExampleLine {
  const { messages, tools = [] } = example
  const at = messages.findIndex(({ tool_calls }) => tool_calls !== undefined)
  if (at < 0 && tools.length === 0) return example
  const part = at < 0 ? 'tools' : `messages[${at}].tool_calls`
  throw refused(example, part, 'is there, and the external trainer of this server gets no tools')
}

/**
 * The marks of pictures stand in the texts, and a program that finds another one puts a picture in the wrong place or fails.
 * @throws OrielError `invalid` for an example whose own texts have a mark
 */
function withoutMarks(example: ExampleLine): ExampleLine {
  const { messages, tools } = example
  const check = (text: string, part: string): void => {
    const mark = marks.find((one) => text.includes(one))
    if (mark !== undefined)
      throw refused(example, part, `has ${mark}, which the external trainer of this server takes for a file`)
  }
  for (const [at, { content, tool_calls }] of messages.entries()) {
    const where = `messages[${at}]`
    for (const [index, part] of content.entries())
      if (part.type === 'text') check(part.text, `${where}.content[${index}]`)
    // Parts beside each other become one text.
    check(content.map((part) => (part.type === 'text' ? part.text : '\n')).join(''), `${where}.content`)
    if (tool_calls !== undefined) check(JSON.stringify(tool_calls), `${where}.tool_calls`)
  }
  if (tools !== undefined) check(JSON.stringify(tools), 'tools')
  return example
}

/** In the texts of ms-swift and LLaMA-Factory. */
const marks = ['<image>', '<video>', '<audio>'] as const

const refused = ({ line }: ExampleLine, part: string, what: string): OrielError =>
  new OrielError(
    'invalid',
    `${line === undefined ? '' : `Line ${line}, `}${part} ${what}. Leave the example out, or take the built-in trainer.`,
    { code: 'trainer_unable' },
  )

const markedText = (content: Messages[number]['content']): string =>
  content.map((part) => (part.type === 'text' ? part.text : '<image>')).join('')

const imagesOf = (messages: Messages): string[] =>
  messages.flatMap(({ content }) => content.flatMap((part) => (part.type === 'image' ? [part.image] : [])))

/** The function of a tool call as OpenAI has it. */
const functionOf = (call: unknown): unknown =>
  typeof call === 'object' && call !== null && 'function' in call ? call.function : call
