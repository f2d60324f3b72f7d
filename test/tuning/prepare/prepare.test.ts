import { rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Engine, PromptPiece } from '../../../src/engine/index.ts'
import { createLogger } from '../../../src/log.ts'
import { noArguments } from '../../../src/prompt/index.ts'
import { examine, openReader, type Prepared, prepare } from '../../../src/tuning/prepare/index.ts'
import type { Sequence } from '../../../src/tuning/sequence.ts'
import { shape, teal } from '../../support/images.ts'
import { assistant, type Chat, jobFolder, type Said, user } from '../../support/job-folder.ts'
import { startPocket } from '../../support/pocket.ts'

let engine: Engine
let circle: Buffer
let square: Buffer
const folders: string[] = []

beforeAll(async () => {
  engine = await startPocket()
  circle = await shape('red')
  square = await shape(teal, 'square')
})

afterAll(async () => {
  await engine.close()
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true })))
})

const never = new AbortController().signal

async function jobOf(train: readonly (readonly Said[] | Chat)[], more: Parameters<typeof jobFolder>[1] = {}) {
  const { folder, config } = await jobFolder(train, more)
  folders.push(folder)
  const open = () => openReader(config, createLogger('silent'), never)
  return { folder, config, open, onShare: () => {}, signal: never }
}

const all = ({ sequences }: Pick<Prepared, 'sequences'>): Sequence[] =>
  Array.from(sequences.lengths, (_, index) => sequences.read(index))

/** The text of a sequence, with what is learned in braces. */
async function textOf({ tokens, learned }: Sequence): Promise<string> {
  const ids = [...new Set(tokens)].filter((token) => token >= 0)
  const told = await engine.count([{ kind: 'tokens', tokens: ids }], 'test')
  const texts = new Map(told.tokens.map((one) => [one?.id, Buffer.from(one?.bytes ?? []).toString()]))
  let text = ''
  for (const [at, token] of tokens.entries()) {
    if (learned[at] !== (learned[at - 1] ?? 0)) text += learned[at] ? '{' : '}'
    text += token < 0 ? '\0' : texts.get(token)
  }
  return `${text}${learned.at(-1) ? '}' : ''}`.replaceAll(/\0+/g, '<image>')
}

describe('examples that are prepared', () => {
  it('learn each answer up to the token that ends it, behind the prompt that the model is served with', async () => {
    const job = await jobOf([
      [{ role: 'system', content: ['Be brief.'] }, user(circle, 'What is this?'), assistant('A red circle.')],
      [
        user('Hello'),
        assistant('Hi', { weight: 0 }),
        user(square, 'And', circle, '?'),
        assistant('Two <|im_end|> shapes'),
      ],
    ])
    const prepared = await prepare(job)
    const [first, second] = all(prepared)
    expect(first && (await textOf(first))).toBe(
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<image>[IMG_END]What is this?<|im_end|>\n<|im_start|>assistant\n{A red circle.<|im_end|>}',
    )
    expect(second && (await textOf(second))).toContain(
      'assistant\nHi<|im_end|>\n<|im_start|>user\n<image>[IMG_END]And<image>[IMG_END]?<|im_end|>\n<|im_start|>assistant\n{Two <|im_end|> shapes<|im_end|>}',
    )
    const { counts, sequences } = prepared
    expect(counts).toMatchObject({ examples: 2, evaluation: 0, images: 3, truncated: 0, dropped: 0 })
    expect(counts.tokens).toBe(sum(sequences.lengths))
    expect(counts.learnedTokens).toBe(sum(sequences.learned))
    // Counting them encodes nothing, and says the same.
    expect(await examine(job)).toEqual(counts)
    sequences.close()
  })

  it('have the tokens and the embeddings that requests have', async () => {
    const job = await jobOf([[user(circle, 'What is this?'), assistant('A red circle.')]])
    const { sequences, counts } = await prepare(job)
    const { tokens, positions, spans } = sequences.read(0)
    const reader = await job.open()
    const media = await reader.load([{ kind: 'image', bytes: circle, param: '', detail: 'auto' }], never)
    const parts = await reader.layOut(
      [
        {
          role: 'user',
          content: [
            { kind: 'image', attachment: 0 },
            { kind: 'text', text: 'What is this?' },
          ],
        },
      ],
      {},
    )
    const pieces = parts.flatMap((part): readonly PromptPiece[] => {
      if (part.kind === 'text') return [part]
      return part.kind === 'image' ? (media[part.attachment] ?? []) : []
    })
    const served = await engine.count(pieces, 'test')
    expect([...tokens.subarray(0, served.promptTokens)]).toEqual(served.tokens.map((one) => one?.id ?? -1))
    expect([...positions]).toEqual(Array.from(tokens, (_, at) => at))
    expect(spans.map(({ start }) => start)).toEqual(served.spans.map(({ start }) => start))
    expect(counts.imageTokens).toBe(served.attachmentTokens[0])
    const [attachment] = media[0] ?? []
    if (attachment === undefined) throw new Error('there is no image')
    const [rows] = [...(await engine.encode(attachment, 'test', never)).values()]
    expect(rows && spans[0]?.rows).toEqual(rows)
    await reader.close()
    sequences.close()
  })

  it('have the rows of an image once, and are read again after a restart without the model', async () => {
    const chats = Array.from({ length: 5 }, (_, at) => [user(circle, `Question ${at}`), assistant(`Answer ${at}`)])
    const job = await jobOf(chats, { evaluation: [[user(circle, 'And this?'), assistant('The same')]] })
    const first = await prepare(job)
    const span = first.sequences.read(0).spans[0]?.rows
    expect((await stat(path.join(job.folder, 'prepared/rows'))).size).toBe(span?.byteLength)
    expect(first.evaluation?.read(0).spans[0]?.rows).toEqual(span)
    const open = () => Promise.reject(new Error('they are read once'))
    const again = await prepare({ ...job, open })
    expect(again.counts).toEqual(first.counts)
    expect(all(again)).toEqual(all(first))
    // Other examples are read anew.
    await expect(prepare({ ...job, config: { ...job.config, maxTokens: 30 }, open })).rejects.toThrow(
      'they are read once',
    )
  })

  it('are one sequence for all turns, and several where the template changes former turns', async () => {
    const chat = [
      user('One?'),
      assistant('1'),
      user('Two?'),
      assistant('2', { weight: 0 }),
      user('Three?'),
      assistant('3'),
    ]
    const together = await prepare(await jobOf([chat]))
    expect(await Promise.all(all(together).map(textOf))).toEqual([
      '<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n{1<|im_end|>}\n<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\n{3<|im_end|>}',
    ])
    const drops = `{% for m in messages %}{{ m.role }}:{{ m.content if loop.last or m.role == 'user' else '-' }}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}`
    const apart = await prepare(await jobOf([chat], { chatTemplate: drops }))
    expect(await Promise.all(all(apart).map(textOf))).toEqual([
      'user:One?<|im_end|>assistant:{1<|im_end|>}',
      'user:One?<|im_end|>assistant:-<|im_end|>user:Two?<|im_end|>assistant:-<|im_end|>user:Three?<|im_end|>assistant:{3<|im_end|>}',
    ])
  })

  it('end with the token of the model where the template ends no turn, and end the thought that it begins', async () => {
    const chat = [user('One?'), assistant('1')]
    const open = `{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`
    const thinks = open.replace('assistant: {%', 'assistant: <think>\n{%')
    for (const [chatTemplate, text] of [
      [open, 'user: One?\nassistant: {1\n<|im_end|>}'],
      [thinks, 'user: One?\nassistant: <think>\n{</think>\n\n1\n<|im_end|>}'],
    ] as const)
      expect(await Promise.all(all(await prepare(await jobOf([chat], { chatTemplate }))).map(textOf))).toEqual([text])
    const other = `{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}{% if add_generation_prompt %}bot: {% endif %}`
    await expect(prepare(await jobOf([chat], { chatTemplate: other }))).rejects.toThrow(
      "Line 1, messages[1]: The model's chat template writes what is before the answer in another way",
    )
  })

  it('are cut where they are too long, and left out where nothing is left to learn', async () => {
    const long = 'word '.repeat(5000)
    const job = await jobOf(
      [
        [user('Hi'), assistant(long)],
        [user(long), assistant('Hi')],
        [user('Hi'), assistant('Hi'), user(long), assistant('Hi')],
      ],
      { maxTokens: 100 },
    )
    const prepared = await prepare(job)
    expect(prepared.counts).toMatchObject({ examples: 3, truncated: 3, dropped: 1 })
    const [cut, short] = all(prepared)
    expect(cut?.tokens.length).toBe(100)
    expect(cut?.learned.at(-1)).toBe(1)
    expect(short && (await textOf(short))).toMatch(/assistant\n\{Hi<\|im_end\|>\}$/)
    await expect(prepare(await jobOf([[user(long), assistant('Hi')]], { maxTokens: 100 }))).rejects.toThrow(
      'The examples have nothing to learn: no answer of theirs fits the longest sequence.',
    )
  })

  it('learn calls of tools as the template writes them', async () => {
    const call = { id: 'a', type: 'function', function: { name: 'count', arguments: '{"of":"cats"}' } }
    const tools = [
      { type: 'function', function: { name: 'count', description: 'Counts', parameters: { type: 'object' } } },
    ]
    const messages = [
      user('How many cats?'),
      { role: 'assistant' as const, content: [], tool_calls: [call] },
      { role: 'tool' as const, content: ['3'], tool_call_id: 'a' },
      assistant('Three.'),
    ]
    const [sequence] = all(await prepare(await jobOf([{ messages, tools }])))
    const text = sequence && (await textOf(sequence))
    expect(text).toMatch(
      /assistant\n\{\s*<tool_call>\s*\{"name": ?"count", ?"arguments": ?\{"of": ?"cats"\}\}\s*<\/tool_call><\|im_end\|>\}/,
    )
    expect(text).toMatch(/<tool_response>\s*3\s*<\/tool_response>/)
    expect(text).toMatch(/\{Three\.<\|im_end\|>\}$/)
  })

  it('have tools as requests have them, also where a description or parameters are null or left out', async () => {
    const messages = [user('How many cats?'), assistant('Three.')]
    const textWith = async (described: object) => {
      const tools = [{ type: 'function', function: { name: 'count', ...described } }]
      const [sequence] = all(await prepare(await jobOf([{ messages, tools }])))
      return sequence && textOf(sequence)
    }
    const whole = await textWith({ description: '', parameters: noArguments })
    expect(whole).toContain('"count"')
    expect(await textWith({ description: null, parameters: null })).toBe(whole)
    expect(await textWith({})).toBe(whole)
  })

  it('say which line and which part is wrong', async () => {
    const broken = Buffer.concat([circle.subarray(0, 60), Buffer.alloc(40)])
    const fine = [user('Hi'), assistant('Hi')]
    const job = await jobOf([fine, [user('Look', broken), assistant('Hi')]])
    await expect(prepare(job)).rejects.toThrow(/^Line 2, messages\[0\]\.content\[1\]: /)
    await expect(prepare(await jobOf([{ line: 17, messages: [user(broken), assistant('Hi')] }]))).rejects.toThrow(
      /^Line 17, messages\[0\]\.content\[0\]: /,
    )
    const other = await jobOf([fine], { evaluation: [fine, [user(circle), assistant('Hi')]] })
    await rm(path.join(other.folder, 'images'), { recursive: true })
    await expect(prepare(other)).rejects.toThrow(
      'Line 2 of the evaluation examples, messages[0].content[0]: The image is missing.',
    )
    for (const [line, message] of [
      ['{"messages":', 'Line 1: The line is not JSON.'],
      ['{"messages":[{"role":"user"}]}', 'Line 1, messages[0].content: '],
      [
        '{"messages":[{"role":"user","content":[{"type":"image","image":"images/../config.json"}]}]}',
        'Line 1, messages[0].content[0]: It is no image of the folder.',
      ],
    ] as const) {
      await writeFile(path.join(job.folder, 'train.jsonl'), `${line}\n`)
      await expect(prepare(job)).rejects.toThrow(message)
    }
  })

  it('end when the job ends', async () => {
    const stop = new AbortController()
    const job = await jobOf(Array.from({ length: 50 }, () => [user(circle, 'Hi'), assistant('Hi')]))
    const onShare = () => stop.abort()
    await expect(prepare({ ...job, onShare, signal: stop.signal })).rejects.toMatchObject({ kind: 'cancelled' })
  })
})

const sum = (counts: Int32Array): number => counts.reduce((total, one) => total + one, 0)
