import { OrielError } from '../../errors.ts'
import { JsonWalk, mostJson } from '../../json.ts'
import type { Grammar } from './grammars.ts'
import type { FreeText } from './rules.ts'
import { type CompiledSchema, compileSchema } from './schema/compile.ts'
import type { Budget } from './schema/context.ts'
import { type Path, partsOf, refused } from './schema/node.ts'
import { wholeText } from './schema/pattern.ts'

/** A grammar whose schemas have become GBNF. */
export interface WrittenGrammar {
  readonly grammar: Grammar
  /** Places of keywords that no grammar can hold to, which the grammar ignores. */
  readonly ignored: readonly Path[]
}

/** A grammar as a client or a tool asks for it. */
export type GrammarSource =
  | { readonly kind: 'gbnf'; readonly text: string }
  /** A regular expression that the whole answer matches. */
  | { readonly kind: 'regex'; readonly pattern: string }
  /** @param strict whether keywords that cannot be held to are refused; otherwise they are ignored, and listed */
  | { readonly kind: 'json_schema'; readonly schema: unknown; readonly strict?: boolean }
  | ComposedGrammar

/** GBNF that also names rules which are schemas or free text. */
export interface ComposedGrammar {
  readonly kind: 'composed'
  readonly text: string
  readonly schemas: Readonly<Record<string, RuleSchema | RulePart>>
  readonly texts: Readonly<Record<string, FreeText>>
}

/** A schema that becomes a rule, or a part of the schema of another rule. */
export type RuleSchema = { readonly schema: unknown } & RuleBounds
export type RulePart = { readonly of: string; readonly at: readonly string[] } & RuleBounds

interface RuleBounds {
  readonly strict?: boolean
  /** What is allowed if the schema cannot be used, or if all of them are too large. Without it, that is an error. */
  readonly otherwise?: 'object' | 'value'
}

/**
 * Writes a grammar as GBNF. That of a JSON Schema has the JSON texts that the schema allows (draft 2020-12, with the spellings of
 * older drafts and of OpenAPI). Members of objects come in the order of `properties`. As in OpenAI's strict mode and
 * llama.cpp, an object with `properties` has no others unless `additionalProperties` allows them. White space is bounded,
 * or a model may never end. Where a keyword cannot be held to exactly, the grammar allows less, if that is still of use.
 * @throws OrielError `invalid`, code `invalid_grammar` for a regular expression, or `invalid_json_schema`, param `grammar`, with `schemaFault`, whose path begins with the
 * name of the rule in a composed grammar
 */
export function writeGrammar(source: GrammarSource): WrittenGrammar {
  if (source.kind === 'gbnf') return { grammar: { text: source.text, texts: {} }, ignored: [] }
  if (source.kind === 'regex')
    return { grammar: { text: `root ::= ${wholeText(source.pattern)}`, texts: {} }, ignored: [] }
  const { text, schemas, texts }: Omit<ComposedGrammar, 'kind'> =
    source.kind === 'composed' ? source : { text: '', schemas: { root: source }, texts: {} }
  const parts = [text]
  for (const [name, body] of Object.entries(basics)) parts.push(`${name} ::= ${body}`)
  // There is always place for what is allowed otherwise.
  const spare = (name: string) => name.length + ' ::= object\n'.length
  let left = most.characters - parts.join('\n').length
  for (const name of Object.keys(schemas)) left -= spare(name)
  if (left < 0) throw refused([], 'is too large')
  const budget: Budget = { characters: 0, nodes: most.nodes }
  const ignored: Path[] = []
  const walkable = new Set<unknown>()
  for (const [name, schema] of Object.entries(schemas)) {
    budget.characters = left + spare(name)
    const written = ruleOf(name, schema, schemas, budget, walkable)
    parts.push(written.text)
    left += spare(name) - written.text.length - 1
    ignored.push(...written.ignored.slice(0, most.ignored - ignored.length))
  }
  return { grammar: { text: parts.join('\n'), texts }, ignored }
}

/**
 * @param rules all of them
 * @param budget what the rule may take
 * @param walkable schemas that are known not to be too deep or too large
 */
function ruleOf(
  name: string,
  rule: RuleSchema | RulePart,
  rules: ComposedGrammar['schemas'],
  budget: Budget,
  walkable: Set<unknown>,
): CompiledSchema {
  const { strict = false, otherwise } = rule
  const [schema, at] = 'of' in rule ? [wholeOf(rule.of, rules), rule.at] : [rule.schema, []]
  try {
    const tooLarge = walkable.has(schema) ? undefined : whyTooLarge(schema)
    if (tooLarge !== undefined) throw refused(name === 'root' ? [] : [name], tooLarge)
    walkable.add(schema)
    return compileSchema(schema, { name, at, strict }, budget)
  } catch (error) {
    if (otherwise === undefined || !(error instanceof OrielError)) throw error
    return { text: `${name} ::= ${otherwise}`, ignored: [[name]] }
  }
}

function wholeOf(name: string, rules: ComposedGrammar['schemas']): unknown {
  const rule = rules[name]
  if (rule === undefined || 'of' in rule) throw new Error('a rule is a part of one that has no schema')
  return rule.schema
}

/** @returns undefined for a schema that may be compiled */
function whyTooLarge(schema: unknown): string | undefined {
  // How many members a part may have, its keyword says.
  if (new JsonWalk(Number.POSITIVE_INFINITY).isBeyond(schema))
    return `is nested more than ${mostJson.depth} deep, or has more than ${mostJson.containers} objects and arrays`
  let characters = 0
  for (const part of partsOf(schema)) {
    if (typeof part === 'string') characters += part.length
    if (characters > most.text)
      return `is too large: its names and texts have more than ${most.text} characters together`
  }
  return undefined
}

/** Bounds of a grammar, which is written in one piece while every answer waits: in about 10 ms at these. */
const most = {
  characters: 120_000,
  /** As `Budget` counts them. */
  nodes: 3000,
  /** Characters of the names and texts of a schema, descriptions included. */
  text: 1_000_000,
  /** Places that are listed. */
  ignored: 20,
}

const basics = {
  value: 'object | array | string | number | ("true" | "false" | "null") ws',
  object: '"{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws',
  array: '"[" ws (value ("," ws value)*)? "]" ws',
  string: String.raw`"\"" char* "\"" ws`,
  // A positive list, without control characters. An escaped half of a surrogate pair would count as a character.
  char: String.raw`[\x20-\x21\x23-\x5B\x5D-\x7E\u0080-\uD7FF\uE000-\uFFFF\U00010000-\U0010FFFF] | "\\" (["\\bfnrt/] | "u" ([0-9a-cA-CefEF] [0-9a-fA-F] | [dD] [0-7]) [0-9a-fA-F]{2})`,
  number: '"-"? int ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})? ws',
  int: '[0-9] | [1-9] [0-9]{1,15}',
  ws: String.raw`| " " | "\n" [ \t]{0,20}`,
}
