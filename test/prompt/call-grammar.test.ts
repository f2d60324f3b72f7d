import { describe, expect, it } from 'vitest'
import { Automaton } from '../../src/language/grammar/automaton.ts'
import { readGrammar } from '../../src/language/grammar/gbnf.ts'
import { writeGrammar } from '../../src/language/grammar/json-schema.ts'
import { writeNetwork } from '../../src/language/grammar/network-writer.ts'
import { freeText } from '../../src/language/grammar/rules.ts'
import { AnswerReader } from '../../src/prompt/answer.ts'
import { forcedCall, formatOrCalls, possibleCalls } from '../../src/prompt/call-grammar.ts'
import type { Tool } from '../../src/prompt/messages.ts'
import { finished } from '../../src/slices.ts'

const tools: Tool[] = [
  {
    name: 'get_weather',
    description: undefined,
    parameters: {
      type: 'object',
      properties: {
        city: { type: 'string' },
        days: { $ref: '#/$defs/days' },
        unit: { type: 'string', enum: ['C', 'F'] },
      },
      required: ['city'],
      additionalProperties: false,
      $defs: { days: { type: 'integer', minimum: 1, maximum: 7 } },
    },
  },
  { name: 'now', description: undefined, parameters: { type: 'object', properties: {}, additionalProperties: false } },
]

const template = '<function={{ name }}><parameter={{ key }}> <arg_key> <arg_value>'

/** Whether an answer may be a text, or may go on after it. */
function follow(grammar: ReturnType<typeof forcedCall>, text: string): 'complete' | 'open' | 'refused' {
  const { text: rules, texts } = writeGrammar(grammar).grammar
  const all = new Map(readGrammar(rules))
  for (const [name, free] of Object.entries(texts)) for (const [rule, ways] of freeText(name, free)) all.set(rule, ways)
  const automaton = new Automaton(finished(writeNetwork(all, 'root', () => -1)), 20_000)
  automaton.limit = Infinity
  let state: Automaton['start'] | null = automaton.start
  for (const byte of Buffer.from(text)) if (state !== null) state = automaton.step(state, byte)
  return state === null ? 'refused' : state.complete ? 'complete' : 'open'
}

const calls = possibleCalls(tools, template, true)

describe('an answer that may have calls', () => {
  it.each([
    'Just text, with <tool and [TOOL, and {"name": "x"}.',
    '',
    '{"name": "Paris", "country": "France"}',
    'Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n</tool_call>',
    '<tool_call>{"name": "now", "arguments": {}}</tool_call>\n<tool_call>{"name": "now", "arguments": {}}</tool_call>',
    '<tool_call>\n<function=get_weather>\n<parameter=city>\nSan "José"\n</parameter>\n<parameter=days>\n3\n</parameter>\n<parameter=unit>\nC\n</parameter>\n</function>\n</tool_call>',
    '<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>',
    '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "now", "arguments": {}}]',
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}',
    '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}',
    '{"name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "now", "parameters": {}}',
    '<think>I might write <tool_call> here.</think>\n\n{"name": "now", "arguments": {}}',
  ])('may be %s', (text) => {
    expect(follow(calls, text)).toBe('complete')
  })

  it.each([
    '<tool_call>\n{"name": "get_weather", "arguments": {"days": 3',
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 8',
    '<tool_call>\n{"name": "other',
    '<tool_call>\nHm',
    '<tool_call>\n<function=get_weather>\n<parameter=days>',
    '<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=unit>\nK',
    '<tool_call>now\n<arg_key>',
    '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": 3',
    '[TOOL_CALLS]get_weather[ARGS]{"days',
    '<|python_tag|>print',
    '{"name": "get_weather", "parameters": {"town',
    '<think>Now.</think>{"name": "now", "arguments": {"x',
  ])('may not be %s', (text) => {
    expect([follow(calls, text.slice(0, -1)), follow(calls, text)]).toContain('refused')
    expect(follow(calls, text)).toBe('refused')
  })

  it('is not over within a call', () => {
    expect(follow(calls, '<tool_call>\n{"name": "now", "arguments": {}}')).toBe('open')
    expect(follow(calls, '<tool_call>\n<function=get_weather>\n<parameter=city>\nPar')).toBe('open')
  })

  it('has only the formats that the template shows', () => {
    const plain = possibleCalls(tools, '', true)
    expect(follow(plain, '<tool_call>\n<function')).toBe('refused')
    expect(follow(plain, '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>')).toBe('complete')
  })

  it('is read as calls with the arguments that were allowed', () => {
    const text = '<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>'
    const options = { tools: new Map(tools.map((tool) => [tool.name, tool])), mostCalls: 9, splitReasoning: true }
    const reader = new AnswerReader({ ...options, thinking: false })
    expect([...reader.push(text), ...reader.finish()]).toEqual([
      { kind: 'call', call: 0, name: 'get_weather' },
      { kind: 'arguments', call: 0, text: '{"city":"Paris"}' },
    ])
  })

  it('takes any object for a tool whose schema no grammar has, unless it is strict', () => {
    const broken: Tool = { name: 'broken', description: undefined, parameters: { type: 'no-type' } }
    const many = possibleCalls([...tools, broken], '', false)
    expect(writeGrammar(many).ignored).toEqual([['tool-2']])
    expect(follow(many, '<tool_call>{"name": "broken", "arguments": {"any": 1}}</tool_call>')).toBe('complete')
    expect(() => writeGrammar(possibleCalls([{ ...broken, strict: true }], '', false))).toThrow(/is not valid/)
  })

  it('has place for 128 tools with the longest names', () => {
    const nameOf = (i: number) => String(i).padEnd(64, 'x')
    const tools = Array.from(
      { length: 128 },
      (_, i): Tool => ({ name: nameOf(i), description: undefined, parameters: { type: 'object' } }),
    )
    const many = possibleCalls(tools, template, true)
    for (const i of [0, 127])
      expect(follow(many, `<tool_call>{"name": "${nameOf(i)}", "arguments": {}}</tool_call>`)).toBe('complete')
    expect(follow(many, `<tool_call>{"name": "${nameOf(128)}"`)).toBe('refused')
    expect(follow(many, `{"name": "${nameOf(0)}", "arguments": 1`)).toBe('refused')
  })

  it('has the schema of a tool once, however many properties may be written in tags', () => {
    const description = 'A number. '.repeat(5000)
    const properties = Object.fromEntries(
      Array.from({ length: 120 }, (_, i) => [`p${i}`, { type: 'integer', description }]),
    )
    const tool: Tool = { name: 'many', description: undefined, parameters: { properties } }
    const many = possibleCalls([tool], template, false)
    expect(JSON.stringify(many).length).toBeLessThan(1.1 * JSON.stringify(tool).length)
    const text = '<tool_call><function=many><parameter=p0>'
    expect(follow(many, `${text}1</parameter></function></tool_call>`)).toBe('complete')
    expect(follow(many, `${text}x`)).toBe('refused')
  })

  it('is written for tools that are too large together, without their schemas', () => {
    const properties = Object.fromEntries(Array.from({ length: 700 }, (_, i) => [`property_${i}`, { type: 'string' }]))
    const tools = Array.from(
      { length: 128 },
      (_, i): Tool => ({ name: `tool_${i}`, description: undefined, parameters: { properties } }),
    )
    const { ignored } = writeGrammar(possibleCalls(tools, '', false))
    expect(ignored.length).toBe(20)
  })

  it.each([8, 40])('has place for 128 tools of %s properties, if need be without their schemas', (count) => {
    const types = ['string', 'integer', 'boolean']
    const properties = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`property_${i}`, { type: types[i % 3] }]),
    )
    const tool = (i: number): Tool => ({ name: `tool_${i}`, description: undefined, parameters: { properties } })
    const many = possibleCalls(
      Array.from({ length: 128 }, (_, i) => tool(i)),
      template,
      true,
    )
    expect(follow(many, '<tool_call>{"name": "tool_0", "arguments": {"property_0": "x"}}</tool_call>')).toBe('complete')
    expect(follow(many, '<tool_call>{"name": "tool_0", "arguments": {"x')).toBe('refused')
    expect(follow(many, '<tool_call>{"name": "tool_127", "arguments": {"property_1": 1}}</tool_call>')).toBe('complete')
  })
})

describe('an answer that is a call', () => {
  it('has the name of a tool and its arguments, and nothing else', () => {
    const forced = forcedCall(tools)
    expect(follow(forced, '{"name": "get_weather", "arguments": {"city": "Paris"}}')).toBe('complete')
    expect(follow(forced, '{"name": "get_weather", "arguments": {}')).toBe('refused')
    expect(follow(forced, 'Well')).toBe('refused')
  })
})

describe('an answer that follows a format or has calls', () => {
  const schema = { type: 'object', properties: { note: { type: 'string' } }, required: ['note'] }
  const either = formatOrCalls(tools, template, { schema })

  it.each([
    '{"note": "I call <tool_call>."}',
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>\n<tool_call>{"name": "now", "arguments": {}}</tool_call>',
    '\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>',
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]now[ARGS]{}',
    '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "now", "parameters": {}}',
  ])('may be %s', (text) => {
    expect(follow(either, text)).toBe('complete')
  })

  it.each([
    'Text',
    '{"name": "now"',
    '{"note": "a"} <',
    '<tool_call>\n{"name": "get_weather", "arguments": {"days"',
    '<tool_call>{"name": "now", "arguments": {}}</tool_call>\n{',
    '<tool_call>{"name": "now", "arguments": {}}</tool_call>Done',
  ])('may not be %s', (text) => {
    expect(follow(either, text)).toBe('refused')
  })

  it('has the place that there is for its format, and any arguments where none is left', () => {
    const many = (count: number) => ({
      type: 'object',
      properties: Object.fromEntries(Array.from({ length: count }, (_, at) => [`p${at}`, { type: 'string' }])),
    })
    const large: Tool = { name: 'large', description: undefined, parameters: many(600) }
    const write = (schema: object) => writeGrammar(formatOrCalls([large], '', { schema })).ignored
    expect(write(many(2))).toEqual([])
    expect(write(many(600))).toEqual([['tool-0']])
  })
})
