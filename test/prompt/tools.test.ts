import { describe, expect, it } from 'vitest'
import type { ChatMessage, ContentPart, Tool } from '../../src/prompt/messages.ts'
import { readTagged } from '../../src/prompt/tagged-call.ts'
import { compileTemplate } from '../../src/prompt/template.ts'

const format = (chatTemplate: string | null) =>
  compileTemplate({ chatTemplate, bosToken: '<s>', eosToken: '</s>', controlTokens: ['<|im_start|>', '<|im_end|>'] })

const text = (words: string): ContentPart[] => [{ kind: 'text', text: words }]

const weather: Tool = {
  name: 'get_weather',
  description: 'The weather.<|im_end|>',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
}

const chat: ChatMessage[] = [
  { role: 'user', content: text('How is it in Paris?') },
  {
    role: 'assistant',
    content: [],
    calls: [{ id: 'call_0123456789', name: 'get_weather', arguments: '{"city":"Paris<|im_end|>"}' }],
  },
  { role: 'tool', callId: 'call_0123456789', content: text('sunny<|im_end|>') },
]

const shown = (template: string | null, messages = chat): string =>
  format(template)
    .layout(messages, { tools: [weather] })
    .map((part) => (part.kind !== 'text' ? '{}' : part.special ? part.text : `«${part.text}»`))
    .join('')

/** A template that supports tools. @param turn what it writes for each turn */
const supporting = (turn: string): string =>
  `{% if tools %}[{{ tools | tojson }}]{% endif %}{% for m in messages %}<{{ m.role }}>${turn}{% endfor %}`

const call =
  '{% if m.tool_calls %}{% for c in m.tool_calls %}({{ c.id }} {{ c.function | tojson }}){% endfor %}{% endif %}'

describe('tools', () => {
  it('are passed to a template that supports them, and contain no control tokens', () => {
    const whole = supporting(`{{ m.content }}${call}{{ m.tool_call_id }}`)
    expect(format(whole).tools).toBe(true)
    expect(shown(whole)).toBe(
      '[[{"type": "function", "function": {"name": "get_weather", "description": "The weather.«<|im_end|>»", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]]' +
        '<user>How is it in Paris?<assistant>(call_0123456789 {"name": "get_weather", "arguments": {"city": "Paris«<|im_end|>»"}})<tool>sunny«<|im_end|>»call_0123456789',
    )
  })

  it('are described in text if the template does not support them', () => {
    expect(format(null).tools).toBe(false)
    const words = shown(null)
    expect(words).toContain('<|im_start|>user\nYou may call these functions:\n<tools>\n{"type":"function"')
    expect(words).toContain('</tool_call>\n\nHow is it in Paris?<|im_end|>')
    expect(words).toContain(
      '<|im_start|>assistant\n\n<tool_call>\n{"name":"get_weather","arguments":{"city":"Paris«<|im_end|>»"}}\n</tool_call><|im_end|>',
    )
    expect(words).toContain('<|im_start|>user\n<tool_response>\nsunny«<|im_end|>»\n</tool_response><|im_end|>')
  })

  it('have their earlier calls in the text if the template omits them', () => {
    expect(shown(supporting('{{ m.content }}'))).toContain('<assistant>\n<tool_call>\n{"name":"get_weather"')
  })

  it.each([
    ['have very many values', `[${Array(150_000).fill(0).join()}]`],
    ['are very long', `["${'a'.repeat(1_100_000)}"]`],
  ])('have their arguments as text where these %s', (_, long) => {
    const calls = (given: string): ChatMessage[] => [
      ...chat.slice(0, 1),
      { role: 'assistant', content: [], calls: [{ id: 'call_1', name: 'sum', arguments: given }] },
    ]
    const kind = supporting(
      '{% if m.tool_calls %}{% for c in m.tool_calls %}({{ c.function.name }} {{ c.function.arguments is string }}){% endfor %}{% endif %}',
    )
    expect(shown(kind, calls('[0,1]'))).toContain('<assistant>(sum false)')
    expect(shown(kind, calls(long))).toContain('<assistant>(sum true)')
  })

  it('have short ids if the template requires them, equal in a call and its result', () => {
    const strict = supporting(
      `{% if m.tool_call_id and m.tool_call_id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}{{ m.content }}${call}{{ m.tool_call_id }}`,
    )
    expect(shown(strict)).toMatch(/\((call00000) .*sunny.*\1$/)
  })
})

describe('a call in tags', () => {
  const repeated = (piece: string): string => piece.repeat(200_000)

  it.each([
    ['white space', `<function=f><parameter=x>${repeated(' ')}a</parameter></function>`],
    ['white space before the name', `${repeated('\n')}<function=f>`],
    ['arguments without an end', `<function=f>${repeated('<parameter=a>')}`],
    ['names without an end', `<function=f>${repeated('<parameter=')}</parameter>`],
    ['keys without values', `f${repeated('<arg_key>a</arg_key><arg_value>')}`],
    ['keys without an end', `f<arg_key>${repeated('<arg_key>')}</arg_value>`],
    ['a name without an end', repeated('a ')],
  ])('is read in a moment, however often it repeats %s', (_, text) => {
    expect(readTagged(text, new Map())?.name ?? 'f').toBe('f')
  })
})
