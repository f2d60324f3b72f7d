import { z } from 'zod'
import { ranges, type Settings } from '../../deployments/index.ts'
import { mostJson, parseJson } from '../../json.ts'
import { jsonSchema } from './json-schema.ts'
import { invalidValue, optional, refusal } from './validation.ts'

const choices = z.array(z.string().min(1)).min(1).max(1000)

const schemaOrText = z.union([jsonSchema, z.string()])

const format = 'Required format of the answer: '

/** -1, which clients of LM Studio, llama.cpp and vLLM send: no bound. */
export const unbounded = -1

/** A number of tokens, none too, or no bound. */
export const anyTokens = z.int().min(unbounded, { error: 'must be at least 0' })

/** A number of tokens, or no bound. */
export const mostTokens = z
  .int()
  .min(unbounded, { error: 'must be at least 1' })
  .refine((tokens) => tokens !== 0, { error: 'must be at least 1' })

/** Parameters that vLLM and llama.cpp's server add to OpenAI's. */
export const selfHosted = {
  min_tokens: optional(z.int().min(0), 'Minimum number of tokens to generate before the answer may end.'),
  stop_token_ids: optional(z.array(z.int().min(0)).max(16), 'Tokens that end the answer. It does not include them.'),
  include_stop_str_in_output: optional(z.boolean(), 'Whether the answer has the stop string that ends it.'),
  n_predict: optional(mostTokens, 'Same as max_tokens.'),
  repeat_penalty: optional(ranges.repetitionPenalty, 'Same as repetition_penalty.'),
  cache_prompt: optional(z.boolean(), 'Whether cached prompt tokens may be used. Default: true.'),
  json_schema: optional(jsonSchema, `${format}a JSON Schema.`),
  grammar: optional(z.string(), `${format}a GBNF grammar.`),
  guided_json: optional(schemaOrText, `${format}a JSON Schema, also as text.`),
  guided_grammar: optional(z.string().min(1), `${format}a GBNF grammar.`),
  guided_choice: optional(choices, `${format}one of these texts.`),
  guided_regex: optional(z.string().min(1), `${format}a regular expression that the whole answer matches.`),
  structured_outputs: optional(
    z.object({
      json: schemaOrText.nullish(),
      json_object: z.boolean().nullish(),
      grammar: z.string().min(1).nullish(),
      choice: choices.nullish(),
      regex: z.string().min(1).nullish(),
      structural_tag: z.null({ error: 'is not supported' }).meta(refusal).optional(),
    }),
    `${format}one of \`json\`, \`json_object\`, \`grammar\`, \`regex\` and \`choice\`.`,
  ),
}

type SelfHosted = z.output<z.ZodObject<typeof selfHosted>>

type Grammar = NonNullable<Settings['sampling']['grammar']>

/** The formats that these parameters ask for, each with its parameter. @throws OrielError `invalid` */
export function formatsOf(body: SelfHosted): { param: string; grammar: Grammar }[] {
  const { structured_outputs: outputs } = body
  return [
    asSchema('json_schema', body.json_schema),
    asSchema('guided_json', body.guided_json),
    asSchema('structured_outputs.json', outputs?.json),
    asSchema('structured_outputs.json_object', outputs?.json_object ? { type: 'object' } : null),
    // Clients of llama.cpp send an empty one for none.
    as('grammar', body.grammar || null, (text) => ({ kind: 'gbnf', text })),
    as('guided_grammar', body.guided_grammar, (text) => ({ kind: 'gbnf', text })),
    as('structured_outputs.grammar', outputs?.grammar, (text) => ({ kind: 'gbnf', text })),
    as('guided_regex', body.guided_regex, (pattern) => ({ kind: 'regex', pattern })),
    as('structured_outputs.regex', outputs?.regex, (pattern) => ({ kind: 'regex', pattern })),
    as('guided_choice', body.guided_choice, oneOf),
    as('structured_outputs.choice', outputs?.choice, oneOf),
  ].flat()
}

function as<T>(param: string, value: T | null | undefined, grammarOf: (value: T) => Grammar) {
  return value == null ? [] : [{ param, grammar: grammarOf(value) }]
}

const asSchema = (param: string, given: z.output<typeof schemaOrText> | null | undefined) =>
  as(param, given, (value) => ({
    kind: 'json_schema',
    schema: typeof value === 'string' ? parsed(param, value) : value,
  }))

/** GBNF of these texts. It escapes characters as JSON does. */
const oneOf = (texts: readonly string[]): Grammar => ({
  kind: 'gbnf',
  text: `root ::= ${texts.map((text) => JSON.stringify(text)).join(' | ')}`,
})

function parsed(param: string, text: string): unknown {
  if (text.length > mostJson.characters)
    throw invalidValue(
      param,
      `${param} is a JSON Schema of ${text.length} characters; as text it may have ${mostJson.characters}.`,
    )
  const schema = parseJson(text)
  if (schema === undefined) throw invalidValue(param, `${param} is not a JSON Schema: its text is not JSON.`)
  return schema
}
