import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { integersBetween, numbersBetween } from './numbers.ts'
import { patternRule } from './pattern.ts'
import { literal, mostTimes, repeated, stringExcept } from './rules.ts'

/**
 * Writes a GBNF grammar of the JSON texts that a JSON Schema allows (draft 2020-12, with the spellings of older drafts).
 * Members of objects come in the order of `properties`. As in OpenAI's strict mode and llama.cpp, an object with
 * `properties` has no others unless `additionalProperties` allows them. White space is bounded, or a model may never end.
 * @throws OrielError `invalid`, code `invalid_json_schema`, param `grammar`, with `schemaFault`, for a schema that cannot
 * be enforced as a whole: no keyword is ignored silently
 */
export function jsonSchemaGrammar(schema: unknown): string {
  const writer = new GrammarWriter(schema)
  const root = writer.rule(schema, [])
  const rules = [['root', root], ...writer.rules, ...Object.entries(basics)]
  const grammar = rules.map(([name, body]) => `${name} ::= ${body}`).join('\n')
  if (grammar.length > mostCharacters) throw refused([], 'is too large')
  return grammar
}

/** Every answer waits while a grammar is parsed. */
const mostCharacters = 200_000

const basics = {
  value: 'object | array | string | number | ("true" | "false" | "null") ws',
  object: '"{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws',
  array: '"[" ws (value ("," ws value)*)? "]" ws',
  string: String.raw`"\"" char* "\"" ws`,
  // A positive list: bytes that are not UTF-8 are read as numbers beyond these.
  char: String.raw`[\x20-\x21\x23-\x5B\x5D-\x7E\u0080-\uD7FF\uE000-\uFFFF\U00010000-\U0010FFFF] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4})`,
  number: '"-"? int ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})? ws',
  int: '[0-9] | [1-9] [0-9]{1,15}',
  ws: String.raw`| " " | "\n" [ \t]{0,20}`,
}

const formats: Record<string, string> = {
  // 29 February is left out, since it depends on the year.
  date: '[0-9]{4} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01]) | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))',
  time: '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])',
  uuid: '[0-9a-fA-F]{8} "-" [0-9a-fA-F]{4} "-" [0-9a-fA-F]{4} "-" [0-9a-fA-F]{4} "-" [0-9a-fA-F]{12}',
}
formats['date-time'] = `${formats.date} "T" ${formats.time}`

const typeNames = z.enum(['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'])
type TypeName = z.output<typeof typeNames>

const count = z.int().nonnegative().max(mostTimes, `must be at most ${mostTimes}`)

/** A schema whose subschemas are not parsed yet. */
const node = z.looseObject({
  $ref: z.string().optional(),
  type: z.union([typeNames, z.array(typeNames).nonempty()]).optional(),
  enum: z.array(z.json()).nonempty().optional(),
  const: z.json().optional(),
  anyOf: z.array(z.unknown()).nonempty().optional(),
  oneOf: z.array(z.unknown()).nonempty().optional(),
  allOf: z.array(z.unknown()).nonempty().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).optional(),
  additionalProperties: z.unknown().optional(),
  items: z.unknown().optional(),
  prefixItems: z.array(z.unknown()).optional(),
  minItems: count.optional(),
  maxItems: count.optional(),
  minLength: count.optional(),
  maxLength: count.optional(),
  pattern: z.string().max(1000).optional(),
  format: z.string().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  exclusiveMaximum: z.number().optional(),
})
type Node = z.output<typeof node>

/** Constraints that are not supported. */
const unsupported =
  `not if dependentSchemas dependentRequired patternProperties propertyNames minProperties maxProperties contains
  uniqueItems multipleOf unevaluatedProperties unevaluatedItems $dynamicRef`.split(/\s+/)

/** Maximum nesting: a deeper schema is a mistake or an attack. */
const mostDepth = 64

type Path = readonly (string | number)[]

class GrammarWriter {
  readonly rules = new Map<string, string>()
  /** Names of the rules by their bodies. */
  readonly #names = new Map<string, string>()
  readonly #root: unknown
  readonly #references = new Map<string, string>()

  constructor(root: unknown) {
    this.#root = root
  }

  /** The body of a rule for a subschema. */
  rule(schema: unknown, path: Path): string {
    if (schema === true) return 'value'
    if (schema === false) throw refused(path, 'allows nothing')
    const parsed = node.safeParse(schema)
    if (!parsed.success) {
      const [issue] = parsed.error.issues
      throw refused([...path, ...(issue?.path ?? []).map(String)], `is not valid: ${issue?.message ?? ''}`)
    }
    return this.#nodeRule(parsed.data, path)
  }

  #nodeRule(schema: Node, path: Path): string {
    if (path.length > mostDepth) throw refused(path, `is nested more than ${mostDepth} deep`)
    const foreign = unsupported.find((keyword) => schema[keyword] !== undefined && schema[keyword] !== false)
    if (foreign !== undefined) throw refused(path, `has ${foreign}, which is not supported`)
    if (schema.$ref !== undefined) {
      const { $ref, ...beside } = schema
      if (!constrains(beside)) return this.#reference($ref, path)
      return this.#nodeRule({ allOf: [beside, { $ref }] }, path)
    }
    if (schema.allOf !== undefined) return this.#nodeRule(this.#merged(schema, schema.allOf, path), [...path, 'allOf'])
    if (schema.const !== undefined) return `${literal(JSON.stringify(schema.const))} ws`
    if (schema.enum !== undefined)
      return `(${schema.enum.map((value) => literal(JSON.stringify(value))).join(' | ')}) ws`
    const options = schema.anyOf ?? schema.oneOf
    if (options !== undefined) {
      const { anyOf: _, oneOf: __, ...common } = schema
      const keyword = schema.anyOf === undefined ? 'oneOf' : 'anyOf'
      return alternatives(options.map((option, i) => this.rule(withCommon(common, option), [...path, keyword, i])))
    }
    const types = schema.type === undefined ? impliedTypes(schema) : [schema.type].flat()
    return types.length === 0 ? 'value' : alternatives(types.map((type) => this.#typeRule(type, schema, path)))
  }

  #typeRule(type: TypeName, schema: Node, path: Path): string {
    if (type === 'null') return '"null" ws'
    if (type === 'boolean') return '("true" | "false") ws'
    if (type === 'string') return stringRule(schema, path)
    if (type === 'array') return this.#arrayRule(schema, path)
    if (type === 'object') return this.#objectRule(schema, path)
    return numberRule(type, schema, path)
  }

  #arrayRule({ items, prefixItems = [], minItems = 0, maxItems }: Node, path: Path): string {
    if (items === undefined && prefixItems.length === 0 && minItems === 0 && maxItems === undefined) return 'array'
    const first = prefixItems.map((item, i) => this.#named(item, [...path, 'prefixItems', i]))
    const rest = items === false ? undefined : items === undefined ? 'value' : this.#named(items, [...path, 'items'])
    if (maxItems !== undefined && maxItems < minItems) throw refused(path, 'has maxItems below minItems')
    const most = maxItems ?? (rest === undefined ? first.length : Number.POSITIVE_INFINITY)
    // From the last item to the first: what may follow it.
    let tail =
      rest === undefined || most <= first.length
        ? ''
        : repeated(`("," ws ${rest})`, Math.max(0, minItems - first.length), most - first.length)
    for (let i = Math.min(first.length, most) - 1; i >= 0; i--) {
      const comma = i === 0 ? '' : '"," ws '
      tail = i < minItems ? `${comma}${first[i]} ${tail}` : `(${comma}${first[i]} ${tail})?`
    }
    if (first.length === 0) {
      const more = rest === undefined ? '' : repeated(`("," ws ${rest})`, Math.max(0, minItems - 1), most - 1)
      tail = rest === undefined || most === 0 ? '' : minItems > 0 ? `${rest} ${more}` : `(${rest} ${more})?`
    }
    return `"[" ws ${tail} "]" ws`
  }

  #objectRule({ properties = {}, required = [], additionalProperties }: Node, path: Path): string {
    const names = Object.keys(properties)
    const unlisted = required.filter((name) => !names.includes(name))
    const open = additionalProperties ?? (names.length === 0 && unlisted.length === 0)
    if (names.length === 0 && unlisted.length === 0 && open === true) return 'object'
    if (unlisted.length > 0 && open === false)
      throw refused(path, `requires ${JSON.stringify(unlisted[0])}, which is not one of its properties`)
    const members = [...names, ...unlisted].map((name) => {
      const value = names.includes(name) ? this.#named(properties[name], [...path, 'properties', name]) : 'value'
      return { rule: `${literal(JSON.stringify(name))} ws ":" ws ${value}`, needed: required.includes(name) }
    })
    let others = ''
    if (open !== false) {
      const value = this.#named(open, [...path, 'additionalProperties'])
      others = `${stringExcept([...names, ...unlisted])} ws ":" ws ${value}`
    }
    return `"{" ws ${this.#members(members, others)} "}" ws`
  }

  /** Members in order, each optional one present or not, with a comma before each but the first. */
  #members(members: readonly { rule: string; needed: boolean }[], others: string): string {
    let afterOthers = others === '' ? '' : `("," ws ${others})*`
    let first = others === '' ? '' : `(${others} ${afterOthers})?`
    for (const { rule, needed } of members.toReversed()) {
      // Each is used twice, so it becomes a rule: otherwise the grammar would double with each member.
      const [tail, rest] = [this.#add(afterOthers), this.#add(first)]
      first = needed ? `${rule} ${tail}` : `(${rule} ${tail} | ${rest})`
      afterOthers = needed ? `"," ws ${rule} ${tail}` : `("," ws ${rule})? ${tail}`
    }
    return first
  }

  /** Adds a rule for a body that is not empty. @returns its name */
  #add(body: string): string {
    if (body === '' || /^[a-z0-9-]+$/.test(body)) return body === '' ? '""' : body
    const known = this.#names.get(body)
    if (known !== undefined) return known
    const name = `rule-${this.rules.size}`
    this.#names.set(body, name)
    this.rules.set(name, body)
    return name
  }

  #named(schema: unknown, path: Path): string {
    return this.#add(this.rule(schema, path))
  }

  #reference(reference: string, path: Path): string {
    const known = this.#references.get(reference)
    if (known !== undefined) return known
    const target = this.#target(reference, path)
    // The name is known before the rule, since a schema may refer to itself.
    const name = `ref-${this.#references.size}`
    this.#references.set(reference, name)
    this.rules.set(name, this.rule(target, [...path, '$ref']))
    return name
  }

  /** Resolves a JSON pointer (RFC 6901) within the schema. Nothing is ever fetched. */
  #target(reference: string, path: Path): unknown {
    if (reference !== '#' && !reference.startsWith('#/'))
      throw refused(path, 'has a $ref to another document, which is not supported')
    let target = this.#root
    for (const part of reference.split('/').slice(1)) {
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
      const inside = z.record(z.string(), z.unknown()).safeParse(Array.isArray(target) ? { ...target } : target)
      if (!inside.success || !Object.hasOwn(inside.data, key))
        throw refused(path, 'has a $ref to a place that does not exist')
      target = inside.data[key]
    }
    return target
  }

  #merged({ allOf: _, ...common }: Node, parts: readonly unknown[], path: Path): Node {
    const sum: Node = { ...common }
    parts.forEach((part, i) => {
      const parsed = node.safeParse(this.#resolved(part, path))
      if (!parsed.success) throw refused([...path, 'allOf', i], 'is not a valid schema')
      const { properties, required, ...others } = parsed.data
      const twice = Object.keys(others).find((key) => sum[key] !== undefined && !sameJson(sum[key], others[key]))
      if (twice !== undefined) throw refused([...path, 'allOf', i], `repeats ${twice} with another value`)
      Object.assign(sum, others)
      if (properties !== undefined) sum.properties = { ...sum.properties, ...properties }
      if (required !== undefined) sum.required = [...(sum.required ?? []), ...required]
    })
    return sum
  }

  #resolved(part: unknown, path: Path): unknown {
    const parsed = node.safeParse(part)
    return parsed.success && parsed.data.$ref !== undefined ? this.#target(parsed.data.$ref, path) : part
  }
}

/** Keywords beside `anyOf` apply to each of its options. */
const withCommon = (common: Node, option: unknown): unknown =>
  constrains(common) ? { allOf: [common, option] } : option

/** Whether a schema constrains anything: titles, descriptions and definitions do not. */
const constrains = (schema: Node): boolean =>
  Object.keys(schema).some((key) => key in node.shape || unsupported.includes(key))

function impliedTypes(schema: Node): TypeName[] {
  if (schema.properties !== undefined || schema.additionalProperties !== undefined) return ['object']
  if (schema.items !== undefined || schema.prefixItems !== undefined) return ['array']
  if (schema.pattern !== undefined || schema.minLength !== undefined || schema.maxLength !== undefined)
    return ['string']
  return []
}

function numberRule(type: 'integer' | 'number', schema: Node, path: Path): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema
  const low = Math.max(minimum ?? -Infinity, exclusiveMinimum ?? -Infinity)
  const high = Math.min(maximum ?? Infinity, exclusiveMaximum ?? Infinity)
  if (low === -Infinity && high === Infinity) return type === 'integer' ? '"-"? int ws' : 'number'
  if ([low, high].some((bound) => Number.isFinite(bound) && Math.abs(bound) > 1e15))
    throw refused(path, 'has a numeric bound beyond 1e15, which is not supported')
  const [opens, closes] = [low === exclusiveMinimum, high === exclusiveMaximum]
  if (type === 'integer') {
    const from = opens ? Math.floor(low) + 1 : Math.ceil(low)
    const to = closes ? Math.ceil(high) - 1 : Math.floor(high)
    if (from > to) throw refused(path, 'allows no number')
    return `(${integersBetween(from, to)}) ws`
  }
  if ([low, high].some((bound) => Number.isFinite(bound) && !Number.isInteger(bound)))
    throw refused(path, 'has a fraction as a bound of a number; only whole numbers are supported')
  if (low > high || (low === high && (opens || closes))) throw refused(path, 'allows no number')
  return `(${numbersBetween({ low, opens, high, closes })}) ws`
}

function stringRule({ pattern, format, minLength = 0, maxLength = Infinity }: Node, path: Path): string {
  if (pattern !== undefined) {
    if (minLength > 0 || maxLength < Infinity)
      throw refused(path, 'has a pattern and a length; only one of them is supported')
    const rule = patternRule(pattern)
    if (rule === undefined) throw refused(path, `has the pattern ${JSON.stringify(pattern)}, which is not supported`)
    return `"\\"" ${rule} "\\"" ws`
  }
  const known = format === undefined ? undefined : formats[format]
  if (known !== undefined) return `"\\"" ${known} "\\"" ws`
  if (maxLength < minLength) throw refused(path, 'has maxLength below minLength')
  return minLength === 0 && maxLength === Infinity
    ? 'string'
    : `"\\"" ${repeated('char', minLength, maxLength)} "\\"" ws`
}

const alternatives = (rules: readonly string[]): string =>
  rules.length === 1 ? rules.join() : `(${rules.join(' | ')})`

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

const refused = (path: Path, reason: string): OrielError =>
  new OrielError('invalid', `The JSON schema cannot be used: ${['$', ...path].join('.').slice(0, 200)} ${reason}.`, {
    param: 'grammar',
    code: 'invalid_json_schema',
    schemaFault: { path, reason },
  })
