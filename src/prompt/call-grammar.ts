import { think } from './answer.ts'
import { markups } from './call-markup.ts'
import type { Tool } from './messages.ts'

/** A grammar of calls, as a backend takes it: GBNF that names rules of schemas and of free text. */
export interface CallGrammar {
  kind: 'composed'
  text: string
  schemas: Record<string, ArgumentsSchema | PropertySchema>
  texts: Record<string, { marks: Mark[]; starts?: Mark[]; mayEnd?: boolean }>
}

interface ArgumentsSchema {
  schema: unknown
  strict: boolean
  /** What is allowed if the schema cannot be used. Without it, that is an error. */
  otherwise?: 'object'
}

/** A part of a tool's schema. */
interface PropertySchema {
  /** The tool's rule, so that a schema stands in a grammar once, however many properties it has. */
  of: string
  at: readonly string[]
  otherwise: 'value'
}

/** A text, and the rule that follows it. */
type Mark = readonly [text: string, rule: string]

/** The name of the rule of a tool's arguments. */
export const toolRule = (index: number): string => `tool-${index}`

/** The grammar of an answer that is a call of one of these tools and nothing else. */
export function forcedCall(tools: readonly Tool[]): CallGrammar {
  return {
    kind: 'composed',
    text: ['root ::= call', ...callRules(tools, '"\\"arguments\\""')].join('\n'),
    schemas: argumentsOf(tools),
    texts: {},
  }
}

/**
 * The grammar of an answer that may have calls: any text, and from the opening of a call on, a call of one of the tools. It
 * has the formats of `call-markup.ts`, and those of `tagged-call.ts` if the template shows them.
 * @param template the model's, which shows how it was trained to call
 * @param mayThink whether the answer may begin with a thought, in which nothing is a call
 */
export function possibleCalls(tools: readonly Tool[], template: string, mayThink: boolean): CallGrammar {
  // A call without markup is one only at the beginning, and only with the name of a tool.
  let left = mostBare
  const bare = tools.flatMap(({ name }, index): Mark[] => {
    const openings = ['{"name": ', '{"name":'].map((opening) => opening + JSON.stringify(name))
    left -= openings.join('').length
    return left < 0 ? [] : openings.map((opening) => [opening, `bare-${index}`])
  })
  const { rules, schemas, texts } = markedCalls(tools, template)
  const lines = [
    'root ::= begin',
    ...rules,
    'more ::= (";" ws call)* free',
    ...tools.map((_, index) => `bare-${index} ::= rest-${index} more`),
  ]
  return {
    kind: 'composed',
    text: lines.join('\n'),
    schemas,
    texts: {
      begin: { marks, starts: mayThink ? [...bare, [think.open, 'thought']] : bare },
      free: { marks },
      thought: { marks: [[think.close, 'begin']] },
      ...texts,
    },
  }
}

/** The rule of the format in a grammar of a format or calls. */
export const formatRule = 'format'

/**
 * The grammar of an answer that follows a format, or else is calls with markup and nothing else. Without markup, a call would
 * be like an answer.
 * @param template as in `possibleCalls`
 */
export function formatOrCalls(
  tools: readonly Tool[],
  template: string,
  format: { schema: unknown; strict?: boolean },
): CallGrammar {
  const { rules, schemas, texts } = markedCalls(tools, template)
  const lines = [
    `root ::= ${formatRule} | ws marked`,
    `marked ::= ${marks.map(([mark, rule]) => `${quoted(mark)} ${rule}`).join(' | ')}`,
    'free ::= ws marked?',
    ...rules,
  ]
  const { schema, strict = false } = format
  // Where there is no place for all, the format has it, and tools may have any arguments.
  return { kind: 'composed', text: lines.join('\n'), schemas: { [formatRule]: { schema, strict }, ...schemas }, texts }
}

const marks: Mark[] = [
  [markups.hermes.open, 'hermes'],
  [markups.mistral.open, 'mistral'],
  [markups.llama.open, 'llama'],
]

/** The rules of calls by their markup. What follows a call is the rule `free`. */
function markedCalls(tools: readonly Tool[], template: string) {
  const tagged = [functionTags, argumentTags]
    .filter(({ parameter: [open] }) => template.includes(open))
    .map((tags) => taggedCalls(tools, tags))
  const schemas: CallGrammar['schemas'] = Object.assign(
    argumentsOf(tools, 'object'),
    ...tagged.map(({ schemas }) => schemas),
  )
  return {
    rules: [
      `hermes ::= ws (${['call', ...tagged.map(({ rule }) => rule)].join(' | ')}) ws "</tool_call>" free`,
      'mistral ::= ws ("[" ws call ("," ws call)* "]" | named) free',
      'llama ::= ws call (";" ws call)* free',
      ...callRules(tools, '("\\"arguments\\"" | "\\"parameters\\"")'),
      'label ::= ("[CALL_ID]" [a-zA-Z0-9_-]{1,64})? "[ARGS]"? ws',
      `named ::= ${tools.map(({ name }, index) => `${quoted(name)} label ${toolRule(index)}`).join(' | ')}`,
      'nothing ::= ""',
      ...tagged.flatMap(({ rules }) => rules),
    ],
    schemas,
    texts: Object.fromEntries(
      tagged.map(({ rule, close }) => [`${rule}-text`, { marks: [[close, 'nothing']], mayEnd: false }]),
    ) as CallGrammar['texts'],
  }
}

/** How a format writes a call whose arguments are in tags. `{}` is the place of a name. */
interface Tags {
  readonly name: string
  readonly call: readonly [open: string, close: string]
  readonly parameter: readonly [open: string, between: string, close: string]
}

/** Qwen's coders, and Qwen since 3.5. */
const functionTags: Tags = {
  name: 'function',
  call: ['<function={}>', '</function>'],
  parameter: ['<parameter=', '>', '</parameter>'],
}
/** GLM. */
const argumentTags: Tags = { name: 'pairs', call: ['{}', ''], parameter: ['<arg_key>', '</arg_key>', '</arg_value>'] }

/** Characters of the openings of calls without markup. Those of further tools are not held to a schema. */
const mostBare = 8000

/** Characters of the rules of calls in tags. Tools for which there is no place may have any parameters. */
const mostTagged = 15_000

/** Calls in tags: the properties in their order, text as it is and everything else as JSON. */
function taggedCalls(tools: readonly Tool[], { name: format, call, parameter }: Tags) {
  const [open, between, close] = parameter
  const schemas: CallGrammar['schemas'] = {}
  const named = format === 'pairs' ? ' ws "<arg_value>"' : ''
  let left = mostTagged
  const rules = tools.map((tool, index) => {
    const { properties, required } = tool.parameters
    const isNeeded = (key: string) => Array.isArray(required) && required.includes(key)
    const entries = entriesOf(properties)
    left -= entries.reduce(
      (sum, [key, { enum: texts }]) => sum + key.length + 100 + (JSON.stringify(texts)?.length ?? 0),
      0,
    )
    const [before, after] = call.map((tag) => quoted(tag.replace('{}', () => tool.name)))
    if (left < 0) return `${format}-${index} ::= ${before} ws ${format}-any ${after}`
    const parts = entries.map(([key, schema]) => {
      const rule = `${toolRule(index)}-${format}-${Object.keys(schemas).length}`
      const isText = schema.type === 'string'
      const texts = isText && Array.isArray(schema.enum) ? schema.enum.filter((one) => typeof one === 'string') : []
      if (!isText) schemas[rule] = { of: toolRule(index), at: ['properties', key], otherwise: 'value' }
      const opening = quoted(`${open}${key}${between}`) + named
      const value = !isText
        ? `ws ${rule} ${quoted(close)}`
        : texts.length > 0
          ? `"\\n"? (${texts.map(quoted).join(' | ')}) "\\n"? ${quoted(close)}`
          : `${format}-text`
      return `(${opening} ${value} ws)${isNeeded(key) ? '' : '?'}`
    })
    return `${format}-${index} ::= ${before} ws ${parts.join(' ')} ${after}`
  })
  const all = `${format} ::= ${tools.map((_, index) => `${format}-${index}`).join(' | ')}`
  const any = `${format}-any ::= (${quoted(open)} [^<>]+ ${quoted(between)}${named} ${format}-text ws)*`
  return { rule: format, close, schemas, rules: [all, any, ...rules] }
}

/** The properties of a schema that may be written as tags. */
function entriesOf(properties: unknown): [string, { type?: unknown; enum?: unknown }][] {
  if (typeof properties !== 'object' || properties === null) return []
  return Object.entries(properties).filter(
    ([key, schema]) => /^[^<>\s]+$/.test(key) && typeof schema === 'object' && schema !== null,
  )
}

/** Calls as an object with the name and the arguments. @param key the rule of the arguments' name */
const callRules = (tools: readonly Tool[], key: string): string[] => [
  'opening ::= "{" ws "\\"name\\"" ws ":" ws',
  `key ::= ws "," ws ${key} ws ":" ws`,
  `call ::= opening (${tools.map(({ name }, index) => `${quoted(JSON.stringify(name))} rest-${index}`).join(' | ')})`,
  ...tools.map((_, index) => `rest-${index} ::= key ${toolRule(index)} "}" ws`),
]

const argumentsOf = (tools: readonly Tool[], otherwise?: 'object'): CallGrammar['schemas'] =>
  Object.fromEntries(
    tools.map(({ parameters, strict = false }, index) => [
      toolRule(index),
      { schema: parameters, strict, ...(otherwise === undefined || strict ? {} : { otherwise }) },
    ]),
  )

const quoted = (text: string): string => JSON.stringify(text)
