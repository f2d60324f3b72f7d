import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOriel } from '../../src/app.ts'
import { imageFamilies } from '../../src/encoders/index.ts'
import type { GenerateEvent, GenerateRequest } from '../../src/engine/index.ts'
import { asImages } from '../../src/media/index.ts'
import { qwen25vl } from '../encoders/oracle/families/qwen.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl } from '../support/images.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { everyImage, promptEvent, scriptedBackend, serveBackend, textEvent } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

/** What was sent, upright, and what the model saw of it. */
const sent = { width: 400, height: 200 }
const seen = { width: 56, height: 28 }

/** Every image has the size that is sent. */
const media: typeof everyImage = {
  ...everyImage,
  load: async (...asked) =>
    (await everyImage.load(...asked)).map(asImages).map((file) => ({
      ...file,
      images: file.images.map((image) => Object.assign(image, { original: sent })),
    })),
}

type Model = Parameters<typeof scriptedBackend>[1]

/** A server whose engine gives each choice the next of these answers, piece by piece. */
async function startAnswers(answers: readonly string[], model: Model = {}) {
  const asked: GenerateRequest[] = []
  async function* script(request: GenerateRequest): AsyncIterable<GenerateEvent> {
    asked.push(request)
    const images = request.prompt.filter(({ kind }) => kind === 'image')
    yield { ...promptEvent, attachmentTokens: images.map(() => 1) } as GenerateEvent
    for (const [choice, answer] of answers.entries()) {
      for (const [before, word] of answer.split(/(?<=[ >])/).entries())
        yield { ...textEvent(word, before + 1), choice } as GenerateEvent
      yield { type: 'end', choice, reason: 'stop', stop: null, completionTokens: 9 }
    }
    const timings = { queue: 0, encode: 0, prefill: 0, firstToken: 0, generation: 0 }
    const work = { kind: 'image', seen, tiles: 1, cached: null, encodeMs: 0 } as const
    yield { type: 'done', timings, attachments: images.map(() => work) }
  }
  const chatTemplate =
    "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% else %}<__media__>{% endif %}{% endfor %}{% endfor %}"
  const backend = scriptedBackend(script, { longestEdge: 100, chatTemplate, media, coordinates: 1000, ...model })
  return { ...(await serveBackend(backend)), asked }
}

const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
const question = { type: 'text', text: 'Where is it?' }
const chatOf = (content: readonly object[], more: object = {}) => ({
  ...{ model: 'scripted', messages: [{ role: 'user', content }], return_boxes: true, ...more },
})

interface Choice {
  index: number
  finish_reason: string | null
  message?: { content: string }
  delta?: { content?: string }
  text?: string
  boxes?: object[]
  points?: object[]
}

async function choicesOf(url: string, body: object, path = '/v1/chat/completions'): Promise<Choice[]> {
  const response = await postJson(url + path, body)
  const answer = (await response.json()) as { choices: Choice[] }
  expect({ status: response.status, answer }).toMatchObject({ status: 200 })
  return answer.choices
}

describe('boxes in pixels of the image that was sent', () => {
  const whole = { label: null, x1: 40, y1: 40, x2: 200, y2: 100 }
  it.each([
    ['qwen2vl_merger', '<|box_start|>(100,200),(500,500)<|box_end|>', whole],
    ['qwen2.5vl_merger', '[{"bbox_2d": [14, 7, 28, 14], "label": "cup"}]', { label: 'cup', x1: 100, y1: 50, x2: 200 }],
    ['qwen3vl_merger', '[{"bbox_2d": [100, 200, 500, 500], "label": "cup"}]', { ...whole, label: 'cup' }],
    ['gemma4v', '[{"box_2d": [200, 100, 500, 500], "label": "cup"}]', { ...whole, label: 'cup' }],
    ['gemma3', '<loc0256><loc0512><loc0512><loc0768> cup', { label: 'cup', x1: 200, y1: 50, x2: 300, y2: 100 }],
    ['glm4v', '<|begin_of_box|>[[100,200,500,500]]<|end_of_box|>', whole],
    ['kimivl', '[[0.1, 0.2, 0.5, 0.5]]', whole],
    ['lfm2', '[{"label": "cup", "bbox": [0.1, 0.2, 0.5, 0.5]}]', { ...whole, label: 'cup' }],
    ['internvl', '<ref>cup</ref><box>[[100, 200, 500, 500]]</box>', { ...whole, label: 'cup' }],
    ['resampler', '<ref>cup</ref><box>100 200 500 500</box>', { ...whole, label: 'cup' }],
    ['hunyuanvl', 'cup(100,200),(500,500)', { ...whole, label: 'cup' }],
    ['idefics3', '<text><loc_50><loc_100><loc_250><loc_250>Cup</text>', { ...whole, label: 'text' }],
    ['dots_ocr', '[{"bbox": [14, 7, 28, 14], "category": "Text", "text": "Cup"}]', { label: 'Text', x1: 100, y1: 50 }],
    [
      'deepseekocr',
      '<|ref|>title<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>',
      { label: 'title', x1: 0, y1: 0, x2: 400, y2: 200 },
    ],
    ['cogvlm', 'A cup [[100,200,500,500]] on a table.', whole],
    [
      'paddleocr',
      'Cup<|LOC_100|><|LOC_200|><|LOC_500|><|LOC_200|><|LOC_500|><|LOC_500|><|LOC_100|><|LOC_500|>',
      { ...whole, label: 'Cup' },
    ],
  ])('are found as models of %s write them', async (type, answer, box) => {
    const coordinates = imageFamilies.find(({ types }) => types.includes(type))?.coordinates ?? null
    const { url, close } = await startAnswers([answer], { coordinates })
    try {
      const [choice] = await choicesOf(url, chatOf([image, question]))
      expect(choice).toMatchObject({ message: { content: answer }, points: [] })
      expect(choice?.boxes).toEqual([expect.objectContaining({ image: 0, ...box })])
    } finally {
      await close()
    }
  })

  it('come in every protocol, whole and at the end of a stream, and only if the request wants them', async () => {
    const answer = '{"bbox_2d": [100, 200, 500, 500], "label": "cup"} {"point_2d": [10, 20], "label": "tip"}'
    const { url, close } = await startAnswers([answer])
    const found = {
      boxes: [{ image: 0, label: 'cup', x1: 40, y1: 40, x2: 200, y2: 100 }],
      points: [{ image: 0, label: 'tip', x: 4, y: 4 }],
    }
    const source = { type: 'base64', media_type: 'image/png', data: 'AAAA' }
    const messages = (content: unknown) => [{ role: 'user', content }]
    const ollama = { role: 'user', content: 'Where is it?', images: ['AAAA'] }
    const input = messages([{ type: 'input_image', image_url: 'data:image/png;base64,AAAA' }])
    const requests: [path: string, body: object][] = [
      ['/v1/chat/completions', { messages: messages([image, question]) }],
      ['/inference/v1/chat/completions', { messages: messages([image, question]) }],
      ['/v1/completions', { prompt: '<image>Where is it?', images: ['AAAA'] }],
      ['/v1/messages', { max_tokens: 99, messages: messages([{ type: 'image', source }, question]) }],
      ['/v1/responses', { input, store: false }],
      ['/api/chat', { messages: [ollama] }],
      ['/api/generate', { prompt: 'Where is it?', images: ['AAAA'] }],
    ]
    try {
      for (const [path, body] of requests)
        for (const stream of [false, true]) {
          const wanted = { model: 'scripted', ...body, stream, return_boxes: true }
          const response = await postJson(url + path, wanted)
          const text = await response.text()
          expect({ path, text, status: response.status }).toMatchObject({ path, status: 200 })
          const parts = stream && !path.startsWith('/api') ? eventsOf<object>(text) : linesOf(text)
          const having = parts.flatMap(groundedIn)
          expect({ path, stream, having }).toEqual({ path, stream, having: [found] })
          expect(parts.slice(-3).flatMap(groundedIn)).toHaveLength(1)
          const without = await (await postJson(url + path, { ...wanted, return_boxes: false })).text()
          expect(without).not.toMatch(/"(boxes|points)"/)
        }
    } finally {
      await close()
    }
  })

  it('are those of each choice, also in a stream', async () => {
    const answers = ['[{"bbox_2d": [0, 0, 500, 500]}]', 'Nothing.']
    const { url, close } = await startAnswers(answers)
    try {
      const counts = (choices: readonly Choice[]) => choices.map(({ index, boxes }) => [index, boxes?.length])
      const body = chatOf([image, question], { n: 2 })
      expect(counts(await choicesOf(url, body))).toEqual([
        [0, 1],
        [1, 0],
      ])
      const response = await postJson(`${url}/v1/chat/completions`, { ...body, stream: true })
      const chunks = eventsOf<{ choices: Choice[] }>(await response.text()).flatMap(({ choices }) => choices)
      expect(counts(chunks.filter(({ boxes }) => boxes !== undefined))).toEqual([
        [0, 1],
        [1, 0],
      ])
    } finally {
      await close()
    }
  })

  it('are on the last image of the prompt, and nowhere in a prompt without any', async () => {
    const { url, close } = await startAnswers(['[{"point_2d": [500, 500]}]'])
    try {
      const points = async (...content: object[]) => (await choicesOf(url, chatOf(content)))[0]?.points
      expect(await points(image, image, question)).toMatchObject([{ image: 1, x: 200, y: 100 }])
      expect(await points(question)).toEqual([])
    } finally {
      await close()
    }
  })

  it('have ordered corners, and stay where the model put them, also outside of the image', async () => {
    const answer = '[{"bbox_2d": [500, 600, -100, 1200]}, {"bbox_2d": [0, 0, 1, 1]}]'
    const { url, close } = await startAnswers([answer])
    try {
      const [choice] = await choicesOf(url, chatOf([image, question]))
      expect(choice?.boxes).toMatchObject([
        { x1: -40, y1: 120, x2: 200, y2: 240 },
        // A box of a thousandth is none: these are shares of the image.
        { x1: 0, y1: 0, x2: 400, y2: 200 },
      ])
    } finally {
      await close()
    }
  })

  it('are not those of a thought, nor of a prompt that the answer repeats', async () => {
    const box = '[{"bbox_2d": [0, 0, 500, 500]}]'
    const { url, close } = await startAnswers([`<think>${box}</think>It is not there.`])
    const echoing = await startAnswers(['It is not there.'])
    try {
      expect((await choicesOf(url, chatOf([image, question])))[0]).toMatchObject({ boxes: [] })
      const echo = { model: 'scripted', prompt: `<image>Is it in ${box}?`, images: ['AAAA'], echo: true }
      const [choice] = await choicesOf(echoing.url, { ...echo, return_boxes: true }, '/v1/completions')
      expect(choice).toMatchObject({ text: expect.stringContaining('[0, 0, 500, 500]'), boxes: [] })
    } finally {
      await close()
      await echoing.close()
    }
  })

  it('are read from control tokens, which the text does not have', async () => {
    const controlTokens = ['<|im_end|>', '<|box_start|>', '<|box_end|>']
    const { url, close, asked } = await startAnswers(['A cup <|box_start|>(100,200),(500,500)<|box_end|>.'], {
      controlTokens,
    })
    try {
      const [choice] = await choicesOf(url, chatOf([image, question]))
      expect(choice?.message?.content).toBe('A cup (100,200),(500,500).')
      expect(choice?.boxes).toMatchObject([{ x1: 40, y1: 40, x2: 200, y2: 100 }])
      await choicesOf(url, chatOf([image, question], { return_boxes: false }))
      expect(asked.map(({ shownTokens }) => shownTokens)).toEqual([['<|box_start|>', '<|box_end|>'], []])
    } finally {
      await close()
    }
  })
})

it('a model of which no form is known refuses the request, and says where the others are', async () => {
  const silent = await startAnswers([''], { coordinates: null })
  const plain = await serveBackend(plainBackend())
  try {
    for (const [url, model] of [
      [silent.url, 'scripted'],
      [plain.url, 'plain'],
    ]) {
      const response = await postJson(`${url}/v1/chat/completions`, chatOf([question], { model }))
      expect(response.status).toBe(400)
      expect(await response.json()).toMatchObject({
        error: {
          message: `No form in which the model ${model} writes boxes is known. Models that have one list the feature "grounding".`,
          param: 'return_boxes',
          code: 'boxes_not_supported',
        },
      })
    }
  } finally {
    await silent.close()
    await plain.close()
  }
})

describe('a model that counts pixels of what it sees', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-boxes-'))
  const models = { dirs: [folder] }
  let server: TestServer
  beforeAll(async () => {
    qwen25vl.write(path.join(folder, 'seer.gguf'), path.join(folder, 'mmproj-seer.gguf'))
    server = await startServer({ models })
  })
  afterAll(async () => {
    await server.close()
    rmSync(folder, { recursive: true })
  })

  /** It lies on its side, which its EXIF data says: upright it has 300 x 500 pixels. */
  const photo = async () =>
    dataUrl(
      await sharp({ create: { width: 500, height: 300, channels: 3, background: '#c33' } })
        .withMetadata({ orientation: 6 })
        .jpeg()
        .toBuffer(),
    )

  it('has its boxes in pixels of the upright image', async () => {
    const list = (await (await fetch(`${server.url}/v1/models?features=grounding`)).json()) as { data: object[] }
    expect(list.data).toMatchObject([{ id: 'seer', features: expect.arrayContaining(['vision', 'grounding']) }])
    const body = {
      ...{ model: 'seer', max_tokens: 100, usage: { include: true }, return_boxes: true },
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: await photo() } }, question] }],
    }
    const response = await postJson(`${server.url}/v1/chat/completions`, {
      ...body,
      guided_choice: ['[{"bbox_2d": [0, 0, 28, 28]}]'],
    })
    const answer = (await response.json()) as {
      choices: Choice[]
      usage: { pictures: { width: number; height: number; seen: typeof seen }[] }
    }
    const [picture] = answer.usage.pictures
    expect(picture).toMatchObject({ width: 300, height: 500 })
    const { width = 0, height = 0 } = picture?.seen ?? {}
    // Its edges are multiples of 28 pixels.
    expect(width % 28).toBe(0)
    expect(answer.choices[0]?.boxes).toEqual([
      {
        ...{ image: 0, label: null, x1: 0, y1: 0 },
        x2: expect.closeTo((28 / width) * 300, 0),
        y2: expect.closeTo((28 / height) * 500, 0),
      },
    ])
  })

  it('gives them to a program too', async () => {
    const oriel = await createOriel({ models, logLevel: 'silent' })
    try {
      const reply = await oriel.ask('Where is it?', {
        ...{ model: 'seer', images: [await photo()], boxes: true, maxTokens: 200 },
        schema: { type: 'object', properties: { bbox_2d: { const: [0, 0, 28, 28] } }, required: ['bbox_2d'] },
      })
      expect(await reply.finish()).toMatchObject({
        ...{ boxes: [{ image: 0, label: null, x1: 0, y1: 0 }], points: [] },
        images: [{ page: 1, width: 300, height: 500, seen: expect.anything(), cached: null }],
      })
      const question = oriel.ask('Where is it?', { model: 'pocket', boxes: true })
      await expect(question).rejects.toMatchObject({ param: 'boxes', code: 'boxes_not_supported' })
    } finally {
      await oriel.close()
    }
  })
})

const linesOf = (text: string): object[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as object)

/** The boxes and points anywhere in a body. */
function groundedIn(value: unknown): object[] {
  if (typeof value !== 'object' || value === null) return []
  const { boxes, points } = value as Choice
  return boxes === undefined ? Object.values(value).flatMap(groundedIn) : [{ boxes, points }]
}
