import fc from 'fast-check'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { OrielError } from '../../../src/errors.ts'
import { type ExampleLimits, parseLine, readExample } from '../../../src/tuning/datasets/example.ts'

import { dataUrl, shape } from '../../support/images.ts'

const limits: ExampleLimits = { lineBytes: 1e6, images: 2, pixels: 50_000, totalPixels: 60_000 }
const read = (example: unknown) => readExample(example, limits)
const message = (example: unknown): string => {
  try {
    read(example)
    return 'nothing is wrong'
  } catch (error) {
    if (!(error instanceof OrielError)) throw error
    expect(error.kind).toBe('invalid')
    return error.message
  }
}
let png: Buffer
beforeAll(async () => {
  png = await shape('red')
})
const answered = (...content: unknown[]) => ({
  messages: [
    { role: 'user', content },
    { role: 'assistant', content: 'yes' },
  ],
})
const picture = (url: unknown) => ({ type: 'image_url', image_url: { url } })

describe('an example', () => {
  it('keeps its pictures as they came, in their places', async () => {
    const jpeg = await sharp(png).jpeg().toBuffer()
    const { messages } = readExample(
      answered({ type: 'text', text: 'a' }, picture(dataUrl(png)), {
        type: 'image_url',
        image_url: dataUrl(jpeg, 'image/jpeg'),
      }),
      { ...limits, totalPixels: 1e6 },
    )
    expect(messages[0]?.content).toEqual([
      { type: 'text', text: 'a' },
      { type: 'image', image: { format: 'png', width: 192, height: 192, bytes: png } },
      { type: 'image', image: { format: 'jpeg', width: 192, height: 192, bytes: jpeg } },
    ])
  })

  it('may have tools, their calls, several turns, and answers that are not learned', () => {
    const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }]
    const call = { id: 'c1', type: 'function', function: { name: 'look', arguments: '{"at":"x"}' } }
    const { messages, tools: kept } = read({
      tools,
      source: 'the user’s own',
      messages: [
        { role: 'developer', content: 'Be short.' },
        { role: 'user', content: 'look' },
        { role: 'assistant', content: null, tool_calls: [call], weight: 0 },
        { role: 'tool', tool_call_id: 'c1', content: 'a cat' },
        { role: 'assistant', content: 'A cat.' },
      ],
    })
    expect(kept).toEqual(tools)
    expect(messages).toEqual([
      { role: 'system', content: [{ type: 'text', text: 'Be short.' }] },
      { role: 'user', content: [{ type: 'text', text: 'look' }] },
      { role: 'assistant', content: [], weight: 0, tool_calls: [call] },
      { role: 'tool', content: [{ type: 'text', text: 'a cat' }], tool_call_id: 'c1' },
      { role: 'assistant', content: [{ type: 'text', text: 'A cat.' }] },
    ])
  })

  it.each([
    ['what is no object', [], 'the line is a list; it must be an object.'],
    ['no messages', { mesages: [] }, 'messages is missing. Found the fields mesages.'],
    ['no fields', {}, 'messages is missing. The line has no fields.'],
    [
      'an unknown role',
      { messages: [{ role: 'assistent', content: 'a' }] },
      'messages[0].role is "assistent"; allowed are system, user, assistant, tool.',
    ],
    [
      'a misspelt field',
      { messages: [{ role: 'assistant', content: 'a', wieght: 0 }] },
      'messages[0].wieght is not known. A message may have role, content, name, weight, tool_calls, tool_call_id.',
    ],
    [
      'a field that would write to a terminal',
      { '\u001b[2J': 1 },
      'messages is missing. Found the fields "\\u001b[2J".',
    ],
    [
      'a weight between',
      { messages: [{ role: 'assistant', content: 'a', weight: 0.5 }] },
      'messages[0].weight is 0.5; 0 and 1 are allowed.',
    ],
    [
      'a weight of the whole example',
      { messages: [{ role: 'assistant', content: 'a' }], weight: 0.5 },
      'weight is 0.5; examples have the weight 1. A message of the assistant may have the weight 0, and is not learned then.',
    ],
    [
      'no answer at the end',
      { messages: [{ role: 'user', content: 'a' }] },
      'messages[0].role is user; the last message must be of the assistant, which is learned.',
    ],
    [
      'no answer to learn',
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b', weight: 0 },
        ],
      },
      'messages have no answer to learn: the weight of each of the assistant is 0.',
    ],
    [
      'a part that is no picture',
      answered({ type: 'video_url' }),
      'messages[0].content[0].type is "video_url"; allowed are text and image_url.',
    ],
    [
      'a picture elsewhere',
      answered(picture('https://example.com/a.png')),
      'messages[0].content[0].image_url.url is an http URL; a dataset has its pictures itself, as data:image/png;base64,… or data:image/jpeg;base64,….',
    ],
    [
      'a picture of a machine’s own',
      answered(picture('file:///etc/passwd')),
      'messages[0].content[0].image_url.url is no data URL; a dataset has its pictures itself, as data:image/png;base64,… or data:image/jpeg;base64,….',
    ],
    [
      'broken base64',
      answered(picture('data:image/png;base64,iVBOR*')),
      'messages[0].content[0].image_url.url: The image\'s data URL is malformed: character 6 of the data, "*", is not a base64 character.',
    ],
    [
      'another format',
      answered(picture(dataUrl(Buffer.from('GIF89a...')))),
      'messages[0].content[0].image_url.url: The image is gif; PNG and JPEG are allowed.',
    ],
    [
      'an answer to no call',
      {
        messages: [
          { role: 'tool', tool_call_id: 'c9', content: 'a' },
          { role: 'assistant', content: 'b' },
        ],
      },
      'messages[0].tool_call_id is "c9"; no call before it has this id.',
    ],
    [
      'arguments that are no JSON',
      {
        messages: [
          { role: 'assistant', content: '', tool_calls: [{ id: 'c', function: { name: 'f', arguments: 'x=1' } }] },
        ],
      },
      'messages[0].tool_calls[0].function.arguments is "x=1"; it must be the JSON of an object.',
    ],
  ])('with %s is refused', (_, example, expected) => {
    expect(message(example)).toBe(expected)
  })

  it('with a picture that is cut, or larger than it may be, is refused', async () => {
    const cut = `messages[0].content[0].image_url.url: The image cannot be decoded: its png data is damaged or incomplete.`
    expect(message(answered(picture(dataUrl(png.subarray(0, -20)))))).toBe(cut)
    const jpeg = await sharp(png).jpeg().toBuffer()
    expect(message(answered(picture(dataUrl(jpeg.subarray(0, -20)))))).toBe(cut.replace('png', 'jpeg'))
    // It says that it is large: no pixel of it is decoded.
    const bomb = Buffer.from(png)
    bomb.writeUInt32BE(100_000, 16)
    expect(message(answered(picture(dataUrl(bomb))))).toBe(
      'messages[0].content[0].image_url.url is too large: 100000 x 192 pixels; 50000 pixels are allowed for a picture.',
    )
    const two = answered(picture(dataUrl(png)), picture(dataUrl(png)))
    expect(message(two)).toMatch(/content\[1\].image_url.url is too large: 73728 pixels with those before it; 60000/)
    const small = picture(dataUrl(await shape('red', 'circle', 8)))
    expect(message(answered(small, small, small))).toMatch(/content\[2\].* is picture 3 of the example; 2 are allowed/)
  })

  it('is read or refused with a sentence, whatever the line has', () => {
    const parts = fc.oneof(
      fc.jsonValue(),
      fc.record({ type: fc.constantFrom('text', 'image_url'), text: fc.jsonValue(), image_url: fc.jsonValue() }),
    )
    const messages = fc.record(
      {
        role: fc.constantFrom('user', 'assistant', 'tool', 'system', 7),
        content: fc.oneof(fc.string(), fc.array(parts), fc.jsonValue()),
        tool_calls: fc.jsonValue(),
        tool_call_id: fc.jsonValue(),
        weight: fc.jsonValue(),
      },
      { requiredKeys: ['role', 'content'] },
    )
    fc.assert(
      fc.property(
        fc.record({ messages: fc.array(messages), tools: fc.jsonValue() }, { requiredKeys: ['messages'] }),
        (example) => {
          expect(message(example).length).toBeGreaterThan(0)
        },
      ),
    )
  })

  it('whose picture is damaged anywhere is read or refused', () => {
    fc.assert(
      fc.property(fc.nat(png.length - 1), fc.nat(255), fc.nat(png.length), (at, byte, end) => {
        const damaged = Buffer.from(png)
        damaged[at] = byte
        expect(message(answered(picture(dataUrl(damaged.subarray(0, end)))))).toMatch(/nothing|image_url/)
      }),
    )
  })

  it('that is no JSON is told where, and nothing of its text', () => {
    expect(() => parseLine('{"messages": secret}')).toThrow(/^the line is not JSON(: at character \d+)?\.$/)
    expect(() => parseLine('{"messages": [')).toThrow('the line is not JSON: it ends too early.')
  })
})
