import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AnswerPiece, AnswerReader, beginsThought, type ReaderOptions } from '../../src/prompt/answer.ts'
import type { Tool } from '../../src/prompt/messages.ts'
import { inputs } from '../support/long.ts'

const tool = (name: string, properties: object): [string, Tool] => [
  name,
  { name, description: undefined, parameters: { type: 'object', properties } },
]
const tools = new Map([tool('get_weather', { city: { type: 'string' } }), tool('add', { a: { type: 'number' } })])
const options: ReaderOptions = { tools, mostCalls: Number.POSITIVE_INFINITY, splitReasoning: true, thinking: false }

interface Read {
  text: string
  reasoning: string
  calls: { name: string; arguments: string }[]
}

function gathered(pieces: readonly AnswerPiece[]): Read {
  const read: Read = { text: '', reasoning: '', calls: [] }
  for (const piece of pieces) {
    if (piece.kind === 'text' || piece.kind === 'reasoning') read[piece.kind] += piece.text
    else if (piece.kind === 'call') read.calls[piece.call] = { name: piece.name, arguments: '' }
    else {
      const call = read.calls[piece.call]
      if (call === undefined) throw new Error('arguments before their call')
      call.arguments += piece.text
    }
  }
  return read
}

function read(answer: string, over: Partial<ReaderOptions> = {}, cuts: readonly number[] = []): Read {
  const reader = new AnswerReader({ ...options, ...over })
  const ends = [...cuts.map((cut) => cut % (answer.length + 1)).sort((a, b) => a - b), answer.length]
  let from = 0
  const pieces = ends.flatMap((end) => {
    const part = answer.slice(from, end)
    from = end
    return reader.push(part)
  })
  return gathered([...pieces, ...reader.finish()])
}

const paris = { name: 'get_weather', arguments: '{"city": "Paris"}' }
const sum = { name: 'add', arguments: '{"a": 1, "b": [2, {"c": "}"}]}' }

/** Answers in the formats of the model families. */
const captured: [what: string, answer: string, expected: Partial<Read>][] = [
  ['plain text', 'The sky is blue.', { text: 'The sky is blue.' }],
  ['white space around text', '\n The sky.\n', { text: '\n The sky.\n' }],
  [
    'Hermes',
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    { text: '', calls: [paris] },
  ],
  [
    'Qwen with words before and two calls',
    'Let me look.\n\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2, {"c": "}"}]}}\n</tool_call>',
    { text: 'Let me look.', calls: [paris, sum] },
  ],
  [
    'Hermes, arguments first',
    '<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}</tool_call>',
    { calls: [paris] },
  ],
  ['a call without arguments', '<tool_call>{"name": "add"}</tool_call>', { calls: [{ name: 'add', arguments: '{}' }] }],
  [
    'arguments that are null',
    '<tool_call>{"name": "add", "arguments": null}</tool_call>',
    { calls: [{ name: 'add', arguments: '{}' }] },
  ],
  [
    'arguments as a string',
    '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}</tool_call>',
    { calls: [paris] },
  ],
  ['text after a call', '<tool_call>{"name": "add"}</tool_call>\nDone.', { text: 'Done.' }],
  ['Llama 3', '{"name": "get_weather", "parameters": {"city": "Paris"}}', { text: '', calls: [paris] }],
  [
    'Llama 3 with its tag and several',
    '<|python_tag|>{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "add", "parameters": {"a": 1, "b": [2, {"c": "}"}]}}',
    { text: '', calls: [paris, sum] },
  ],
  [
    'Mistral',
    '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "add", "arguments": {"a": 1, "b": [2, {"c": "}"}]}}]',
    { text: '', calls: [paris, sum] },
  ],
  [
    'Mistral since 2025',
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]add[CALL_ID]abcdefghi[ARGS]{"a": 1, "b": [2, {"c": "}"}]}',
    { text: '', calls: [paris, sum] },
  ],
  [
    'Mistral since 2025, with an argument that is called name',
    '[TOOL_CALLS]add[ARGS]{"name": "", "age": 3}',
    { text: '', calls: [{ name: 'add', arguments: '{"name": "", "age": 3}' }] },
  ],
  [
    'Qwen since 3.5',
    '<tool_call>\n<function=get_weather>\n<parameter=city>\n42\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n[2, "<x>"]\n</parameter>\n</function>\n</tool_call>',
    {
      text: '',
      calls: [
        { name: 'get_weather', arguments: '{"city":"42"}' },
        { name: 'add', arguments: '{"a":1,"b":[2,"<x>"]}' },
      ],
    },
  ],
  [
    'GLM',
    'Let me see.<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>New\nYork</arg_value>\n</tool_call><tool_call>now</tool_call>',
    {
      text: 'Let me see.',
      calls: [
        { name: 'get_weather', arguments: '{"city":"New\\nYork"}' },
        { name: 'now', arguments: '{}' },
      ],
    },
  ],
  [
    'a thought and an answer',
    '<think>\nIt is a circle.\n</think>\n\nA circle.',
    { reasoning: 'It is a circle.', text: 'A circle.' },
  ],
  [
    'a thought and a call',
    '<think>\n\n</think>\n\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    { reasoning: '', text: '', calls: [paris] },
  ],
  ['a thought that is cut off', '<think>It is a cir', { reasoning: 'It is a cir', text: '' }],
  ['an answer in JSON', '{"colour": "red"}', { text: '{"colour": "red"}', calls: [] }],
  [
    'JSON without the name of a tool',
    ' {"name": "Ada", "age": 7} ',
    { text: ' {"name": "Ada", "age": 7} ', calls: [] },
  ],
  ['a tag without a call', 'Use <tool_call> to call.', { text: 'Use <tool_call> to call.', calls: [] }],
  [
    'a call that is cut off',
    '<tool_call>{"name": "add", "arguments": {"a": 1',
    { calls: [{ name: 'add', arguments: '{"a": 1' }] },
  ],
  ['a call that is cut off before its name', '<tool_call>{"na', { text: '<tool_call>{"na', calls: [] }],
  [
    'braces and quotes within strings',
    '<tool_call>{"name":"add","arguments":{"a":"\\"}{\\\\"}}</tool_call>',
    { calls: [{ name: 'add', arguments: '{"a":"\\"}{\\\\"}' }] },
  ],
]

describe('an answer', () => {
  it.each(captured)('is split into text, thought and calls: %s', (_, answer, expected) => {
    expect(read(answer)).toMatchObject(expected)
  })

  it.each(captured)('is read the same however it is split: %s', (_, answer) => {
    const whole = read(answer)
    expect(
      read(
        answer,
        {},
        Array.from(answer, (_, index) => index),
      ),
    ).toEqual(whole)
    fc.assert(
      fc.property(fc.array(fc.nat(answer.length), { maxLength: 12 }), (cuts) => {
        expect(read(answer, {}, cuts)).toEqual(whole)
      }),
      { numRuns: 60 },
    )
  })

  it('of any pieces of markup is read the same however it is split', () => {
    const words = fc.constantFrom(
      '<tool_call>',
      '<function=add>',
      '<parameter=a>1</parameter>',
      '<arg_key>a</arg_key><arg_value>',
      '</tool_call>',
      '[TOOL_CALLS]',
      '[ARGS]',
      '<|python_tag|>',
      '<think>',
      '</think>',
      '{"name": "add", "arguments": {"a": 1}}',
      '{"name": "other"}',
      '{',
      '}',
      '[',
      ']',
      ',',
      ';',
      '"',
      '\\',
      ' ',
      '\n',
      'word',
      'add',
    )
    fc.assert(
      fc.property(fc.array(words, { maxLength: 14 }), fc.array(fc.nat(400), { maxLength: 14 }), (parts, cuts) => {
        const answer = parts.join('')
        const whole = read(answer)
        expect(read(answer, {}, cuts)).toEqual(whole)
        expect(
          read(
            answer,
            {},
            Array.from(answer, (_, index) => index),
          ),
        ).toEqual(whole)
      }),
      { numRuns: inputs(300, 1500) },
    )
  })

  it('is plain text, unchanged, if there are no tools', () => {
    fc.assert(
      fc.property(fc.constantFrom(...captured.map(([, answer]) => answer)), (answer) => {
        expect(read(answer, { tools: new Map(), splitReasoning: false })).toEqual({
          text: answer,
          reasoning: '',
          calls: [],
        })
      }),
    )
  })

  it('emits arguments before they are complete', () => {
    const reader = new AnswerReader(options)
    expect(reader.push('<tool_call>{"name": "add", "arguments": {"a": ')).toEqual([
      { kind: 'call', call: 0, name: 'add' },
      { kind: 'arguments', call: 0, text: '{"a": ' },
    ])
    expect(reader.push('12')).toEqual([{ kind: 'arguments', call: 0, text: '12' }])
  })

  it('has at most mostCalls calls', () => {
    const two = '<tool_call>{"name": "add"}</tool_call><tool_call>{"name": "add"}</tool_call>'
    expect(read(two, { mostCalls: 1 }).calls).toHaveLength(1)
  })

  it('continues a thought that the prompt begins', () => {
    expect(beginsThought('<|im_start|>assistant\n<think>\n')).toBe(true)
    expect(beginsThought('<|im_start|>assistant\n')).toBe(false)
    expect(read('A circle?\n</think>\n\nYes.', { thinking: true })).toMatchObject({
      reasoning: 'A circle?',
      text: 'Yes.',
    })
  })

  it('begins after a thought that stays within the text, however it is split', () => {
    const answer = 'A <tool_call> {"name": "add"}?\n</think>\n\n{"name": "add", "arguments": {"a": 1}}'
    const expected = {
      text: '<think>\nA <tool_call> {"name": "add"}?\n</think>',
      reasoning: '',
      calls: [{ name: 'add', arguments: '{"a": 1}' }],
    }
    const within = { thinking: true, splitReasoning: false }
    for (let cut = 0; cut <= answer.length; cut++) expect(read(answer, within, [cut])).toEqual(expected)
    expect(read('A circle?\n</think>\n\n Yes.', within).text).toBe('<think>\nA circle?\n</think>\n\n Yes.')
  })
})
