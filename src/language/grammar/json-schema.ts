import { OrielError } from '../../errors.ts'
import { isBeyondWalking, mostJson } from '../../json.ts'
import { formats } from './formats.ts'
import type { Grammar } from './grammars.ts'
import { integersBetween, numbersBetween } from './numbers.ts'
import { patternRule } from './pattern.ts'
import { type FreeText, literal, repeated, stringExcept } from './rules.ts'
import { merged, type Node, type Path, readNode, refused, sameJson, type TypeName } from './schema-node.ts'

/** A grammar whose schemas have become GBNF. */
export interface WrittenGrammar {
  readonly grammar: Grammar
  /** Places of keywords that no grammar can hold to, which the grammar ignores. */
  readonly ignored: readonly Path[]
}

/** A grammar as a client or a tool asks for it. */
export type GrammarSource =
  | { readonly kind: 'gbnf'; readonly text: string }
  /** @param strict whether keywords that cannot be held to are refused; otherwise they are ignored, and listed */
  | { readonly kind: 'json_schema'; readonly schema: unknown; readonly strict?: boolean }
  | ComposedGrammar

/** GBNF that also names rules which are schemas or free text. */
export interface ComposedGrammar {
  readonly kind: 'composed'
  readonly text: string
  readonly schemas: Readonly<Record<string, RuleSchema>>
  readonly texts: Readonly<Record<string, FreeText>>
}

/** A schema that becomes a rule. */
export interface RuleSchema {
  readonly schema: unknown
  /** The part of the schema that the rule is of; by default all of it. */
  readonly at?: readonly string[]
  readonly strict?: boolean
  /** What is allowed if the schema cannot be used, or if all of them are too large. Without it, that is an error. */
  readonly otherwise?: 'object' | 'value'
}

/**
 * Writes a grammar as GBNF. That of a JSON Schema has the JSON texts that the schema allows (draft 2020-12, with the spellings of
 * older drafts and of OpenAPI). Members of objects come in the order of `properties`. As in OpenAI's strict mode and
 * llama.cpp, an object with `properties` has no others unless `additionalProperties` allows them. White space is bounded,
 * or a model may never end. Where a keyword cannot be held to exactly, the grammar allows less, if that is still of use.
 * @throws OrielError `invalid`, code `invalid_json_schema`, param `grammar`, with `schemaFault`, whose path begins with the
 * name of the rule in a composed grammar
 */
export function writeGrammar(source: GrammarSource): WrittenGrammar {
  if (source.kind === 'gbnf') return { grammar: { text: source.text, texts: {} }, ignored: [] }
  const { text, schemas, texts }: Omit<ComposedGrammar, 'kind'> =
    source.kind === 'composed' ? source : { text: '', schemas: { root: source }, texts: {} }
  const parts = [text]
  for (const [name, body] of Object.entries(basics)) parts.push(`${name} ::= ${body}`)
  // There is always place for what is allowed otherwise.
  const spare = (name: string) => name.length + ' ::= object\n'.length
  let left = most.characters - parts.join('\n').length
  for (const name of Object.keys(schemas)) left -= spare(name)
  const ignored: Path[] = []
  const walkable = new Set<unknown>()
  for (const [name, schema] of Object.entries(schemas)) {
    const written = ruleOf(name, schema, left, walkable)
    parts.push(written.text)
    left += spare(name) - written.text.length - 1
    ignored.push(...written.ignored)
  }
  if (left < 0) throw refused([], 'is too large')
  return { grammar: { text: parts.join('\n'), texts }, ignored: ignored.slice(0, most.ignored) }
}

/**
 * @param left characters that the rule may have if there is something else to allow
 * @param walkable schemas that are known not to be too deep or too large
 */
function ruleOf(name: string, rule: RuleSchema, left: number, walkable: Set<unknown>) {
  const { schema, at = [], strict = false, otherwise } = rule
  const writer = new GrammarWriter(schema, name, strict)
  try {
    // Few rules are shorter, and to write one in vain takes time.
    if (otherwise !== undefined && left < 200) throw refused([], 'is too large')
    if (!walkable.has(schema) && isBeyondWalking(schema))
      throw refused(
        name === 'root' ? [] : [name],
        `is nested more than ${mostJson.depth} deep, or has more than ${mostJson.containers} objects and arrays`,
      )
    walkable.add(schema)
    const lines = [`${name} ::= ${writer.write(at)}`, ...[...writer.rules].map(([rule, body]) => `${rule} ::= ${body}`)]
    const text = lines.join('\n')
    if (otherwise !== undefined && text.length > left) throw refused([], 'is too large')
    return { text, ignored: writer.ignored }
  } catch (error) {
    if (otherwise === undefined || !(error instanceof OrielError)) throw error
    return { text: `${name} ::= ${otherwise}`, ignored: [[name]] }
  }
}

/** Bounds of a schema, which is read and written in one piece while every answer waits: 10 to 30 ms at these. */
const most = {
  /** Of the grammar. */
  characters: 120_000,
  /** Subschemas, counted again where they are used again. */
  nodes: 3000,
  /** Keywords and names from the root to a subschema. */
  depth: 128,
  /** Characters of a property's name. */
  name: 500,
  /** Places that are listed. */
  ignored: 20,
  /** Multiples of a number between two bounds that are written one by one. */
  multiples: 1000,
  /** Pairs of an index and a number of items, for unique items of an enum. */
  unique: 1000,
}

const basics = {
  value: 'object | array | string | number | ("true" | "false" | "null") ws',
  object: '"{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws',
  array: '"[" ws (value ("," ws value)*)? "]" ws',
  string: String.raw`"\"" char* "\"" ws`,
  // A positive list, without control characters.
  char: String.raw`[\x20-\x21\x23-\x5B\x5D-\x7E\u0080-\uD7FF\uE000-\uFFFF\U00010000-\U0010FFFF] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4})`,
  number: '"-"? int ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})? ws',
  int: '[0-9] | [1-9] [0-9]{1,15}',
  ws: String.raw`| " " | "\n" [ \t]{0,20}`,
}

/** Keywords that may be given with any types; the others constrain one type, and imply it where no type is given. */
const implied: Readonly<Record<string, TypeName>> = {
  ...{ properties: 'object', patternProperties: 'object', additionalProperties: 'object', propertyNames: 'object' },
  ...{ required: 'object', minProperties: 'object', maxProperties: 'object' },
  ...{
    items: 'array',
    prefixItems: 'array',
    minItems: 'array',
    maxItems: 'array',
    uniqueItems: 'array',
    contains: 'array',
  },
  ...{ pattern: 'string', minLength: 'string', maxLength: 'string', format: 'string' },
  ...{
    minimum: 'number',
    maximum: 'number',
    exclusiveMinimum: 'number',
    exclusiveMaximum: 'number',
    multipleOf: 'number',
  },
}

const every: readonly TypeName[] = ['null', 'boolean', 'number', 'string', 'array', 'object']

/** Keywords that no grammar of a reasonable size can hold to. */
const beyond = ['$dynamicRef', 'if', 'dependentRequired', 'dependentSchemas', 'dependencies', 'contains'] as const

class GrammarWriter {
  readonly rules = new Map<string, string>()
  readonly ignored: Path[] = []
  /** Names of the rules by their bodies. */
  readonly #names = new Map<string, string>()
  readonly #root: unknown
  readonly #name: string
  readonly #strict: boolean
  readonly #references = new Map<string, string>()
  /** References that are being written, with the number of containers around them. */
  readonly #open = new Map<string, number>()
  #containers = 0
  #nodes = 0

  /** @param name of the rule of the whole schema, with which all others begin */
  constructor(root: unknown, name: string, strict: boolean) {
    this.#root = root
    this.#name = name
    this.#strict = strict
  }

  /** The body of the rule. @param at the part of the schema that it is of */
  write(at: readonly string[]): string {
    const base = this.#name === 'root' ? [] : [this.#name]
    const part = at.length === 0 ? this.#root : this.#target(['#', ...at.map(pointed)].join('/'), base)
    const body = this.#rule(part, [...base, ...at])
    if (body === undefined) throw refused(base, 'allows nothing')
    return body
  }

  /** The body of a rule for a subschema. @returns undefined if it allows nothing */
  #rule(schema: unknown, path: Path): string | undefined {
    if (++this.#nodes > most.nodes) throw refused([], `is too large: it has more than ${most.nodes} parts`)
    if (path.length > most.depth) throw refused(path.slice(0, 8), `is nested more than ${most.depth} deep`)
    const node = readNode(schema, path)
    if (typeof node === 'boolean') return node ? 'value' : undefined
    return this.#nodeRule(node, path)
  }

  #nodeRule(given: Node, path: Path): string | undefined {
    const { $ref, ...beside } = given
    if ($ref !== undefined && Object.keys(beside).length === 0)
      return this.#once($ref, path, () => this.#rule(this.#target($ref, path), [...path, '$ref']))
    const isShared =
      $ref !== undefined || given.allOf?.some((part) => typeof part === 'object' && part !== null && '$ref' in part)
    const write = () => this.#flatRule(this.#flat(given, path), path)
    return isShared ? this.#once(JSON.stringify(given), path, write) : write()
  }

  #flatRule(node: Node | undefined, path: Path): string | undefined {
    if (node === undefined) return undefined
    for (const keyword of beyond) if (node[keyword] !== undefined) this.#ignore([...path, keyword])
    const except = this.#excluded(node, path)
    if (except === 'all') return undefined
    if (node.enum !== undefined) return enumRule(node)
    const options = node.anyOf ?? node.oneOf
    if (options !== undefined) return this.#optionsRule(node, path)
    const keywords = Object.keys(node).flatMap((key) => implied[key] ?? [])
    const types = node.type ?? (keywords.length > 0 ? [...new Set(keywords)] : except.types.length > 0 ? every : [])
    if (types.length === 0) return 'value'
    const left = types.filter(
      (type) => !except.types.includes(type) && !(type === 'integer' && except.types.includes('number')),
    )
    const bodies = left.map((type) =>
      type === 'string' && except.words.length > 0
        ? `${stringExcept(except.words)} ws`
        : this.#typeRule(type, node, path),
    )
    return bodies.length === 0 ? undefined : alternatives(bodies)
  }

  /** A schema with what its `$ref` and `allOf` name. @returns undefined if it allows nothing */
  #flat({ allOf = [], $ref, ...own }: Node, path: Path): Node | undefined {
    let sum: Node = own
    const parts = allOf.map((part, i): readonly [unknown, Path] => [part, [...path, 'allOf', i]])
    if ($ref !== undefined) parts.push([this.#target($ref, path), [...path, '$ref']])
    for (const [part, at] of parts) {
      if (++this.#nodes > most.nodes || at.length > most.depth)
        throw refused(path.slice(0, 8), 'is nested too deep, or refers to itself with nothing in between')
      const read = readNode(part, at)
      const node = typeof read === 'boolean' ? (read ? {} : undefined) : this.#flat(read, at)
      if (node === undefined) return undefined
      const { node: both, lost } = merged(sum, node)
      for (const keyword of lost) this.#ignore([...at, keyword])
      sum = both
    }
    // Merging may have made new ones.
    return sum.allOf === undefined ? sum : this.#flat(sum, [...path, 'allOf'])
  }

  /** What `not` excludes: some types, or some texts. */
  #excluded(given: Node, path: Path): 'all' | { types: readonly TypeName[]; words: readonly string[] } {
    const { not, type, enum: values, anyOf, oneOf, pattern, format, minLength, maxLength } = given
    const nothing = { types: [], words: [] }
    if (not === undefined) return nothing
    const node = readNode(not, [...path, 'not'])
    if (node === false) return nothing
    if (node === true || Object.keys(node).length === 0) return 'all'
    const isFree = values === undefined && anyOf === undefined && oneOf === undefined
    const keys = Object.keys(node).join()
    if (keys === 'type' && isFree && node.type !== undefined && !node.type.includes('integer'))
      return { types: node.type, words: [] }
    const isText =
      (node.type === undefined || node.type.join() === 'string') &&
      Object.keys(node).every((key) => key === 'enum' || key === 'type')
    const words = node.enum?.filter((value) => typeof value === 'string') ?? []
    const isPlain = [pattern, format, minLength, maxLength].every((constraint) => constraint === undefined)
    if (isFree && isText && isPlain && node.enum !== undefined && type?.join() === 'string' && words.every(isShort))
      return { types: [], words }
    this.#ignore([...path, 'not'])
    return nothing
  }

  #optionsRule(node: Node, path: Path): string | undefined {
    const { anyOf, oneOf, ...others } = node
    const keyword = anyOf === undefined ? 'oneOf' : 'anyOf'
    const common: Node = anyOf === undefined ? others : { ...others, ...(oneOf === undefined ? {} : { oneOf }) }
    const options = anyOf ?? oneOf ?? []
    if (keyword === 'oneOf' && !this.#areDistinct(options, path)) this.#ignore([...path, keyword])
    const isBare = Object.keys(common).length === 0
    const bodies = options.map((option, i) => {
      const at = [...path, keyword, i]
      return this.#rule(isBare ? option : { allOf: [common, option] }, at)
    })
    const possible = bodies.filter((body) => body !== undefined)
    return possible.length === 0 ? undefined : alternatives(possible)
  }

  /** Whether a value can match only one of some schemas. */
  #areDistinct(options: readonly unknown[], path: Path): boolean {
    const nodes = options.map((option) => this.#flat(asNode(readNode(option, path)), path) ?? {})
    return (
      options.length <= most.depth &&
      nodes.every((one, i) => nodes.slice(i + 1).every((other) => areDisjoint(one, other)))
    )
  }

  #typeRule(type: TypeName, node: Node, path: Path): string {
    if (type === 'null') return '"null" ws'
    if (type === 'boolean') return '("true" | "false") ws'
    if (type === 'string') return `${this.#stringRule(node, path)} ws`
    if (type === 'array') return this.#within(() => this.#arrayRule(node, path))
    if (type === 'object') return this.#within(() => this.#objectRule(node, path))
    return this.#numberRule(type, node, path)
  }

  /** Between a reference and its own repetition there must be a container, or the grammar would never read anything. */
  #within(write: () => string): string {
    this.#containers++
    const body = write()
    this.#containers--
    return body
  }

  #numberRule(type: 'integer' | 'number', node: Node, path: Path): string {
    const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = node
    const [low, high] = [Math.max(minimum, exclusiveMinimum), Math.min(maximum, exclusiveMaximum)]
    const bounds = { low, opens: low === exclusiveMinimum, high, closes: high === exclusiveMaximum }
    const { multipleOf } = node
    const isWhole = type === 'integer' || (multipleOf !== undefined && Number.isInteger(multipleOf))
    const none = () => refused(path, 'allows no number')
    if (low > high || (low === high && (bounds.opens || bounds.closes))) throw none()
    if (low > Number.MAX_SAFE_INTEGER || high < Number.MIN_SAFE_INTEGER)
      throw refused(path, 'allows only numbers of more than 16 digits')
    const rule = isWhole ? this.#wholeRule(bounds, multipleOf ?? 1, path) : this.#fractionRule(bounds, multipleOf, path)
    if (rule === undefined) throw none()
    return rule
  }

  #wholeRule(
    { low, opens, high, closes }: Parameters<typeof numbersBetween>[0],
    multipleOf: number,
    path: Path,
  ): string | undefined {
    if (low === -Infinity && high === Infinity && multipleOf === 1) return '"-"? int ws'
    // Beyond these a number is not what is written.
    const from =
      low === -Infinity ? low : Math.max(opens ? Math.floor(low) + 1 : Math.ceil(low), Number.MIN_SAFE_INTEGER)
    const to =
      high === Infinity ? high : Math.min(closes ? Math.ceil(high) - 1 : Math.floor(high), Number.MAX_SAFE_INTEGER)
    if (from > to) return undefined
    const all = `(${integersBetween(from, to)}) ws`
    if (Number.isInteger(1 / multipleOf)) return all
    if (!Number.isInteger(multipleOf)) {
      this.#ignore([...path, 'multipleOf'])
      return all
    }
    const first = Math.ceil(from / multipleOf) * multipleOf
    const count = Math.floor((to - first) / multipleOf) + 1
    if (count <= 0) return undefined
    if (count <= most.multiples)
      return `(${Array.from({ length: count }, (_, i) => literal(String(first + i * multipleOf))).join(' | ')}) ws`
    const multiples = multiplesOf(multipleOf)
    const isAbove = to >= Number.MAX_SAFE_INTEGER
    if (multiples !== undefined && isAbove && from <= Number.MIN_SAFE_INTEGER) return `"-"? (${multiples}) ws`
    if (multiples !== undefined && isAbove && from <= 0 && from > -multipleOf) return `(${multiples}) ws`
    this.#ignore([...path, 'multipleOf'])
    return all
  }

  #fractionRule(
    bounds: Parameters<typeof numbersBetween>[0],
    multipleOf: number | undefined,
    path: Path,
  ): string | undefined {
    const { low, high } = bounds
    if (multipleOf === undefined && low === -Infinity && high === Infinity) return 'number'
    const places =
      multipleOf === undefined
        ? undefined
        : [1, 2, 3, 4, 5, 6, 7, 8, 9].find((digits) => Number(`1e-${digits}`) === multipleOf)
    if (multipleOf !== undefined && places === undefined) this.#ignore([...path, 'multipleOf'])
    const isWide = (bound: number) => (Math.abs(bound) > Number.MAX_SAFE_INTEGER ? Math.sign(bound) * Infinity : bound)
    const rule = numbersBetween({ ...bounds, low: isWide(low), high: isWide(high) }, places)
    return rule === undefined ? undefined : `(${rule}) ws`
  }

  /** A string in its quotes. */
  #stringRule({ pattern, format, minLength = 0, maxLength = Infinity }: Node, path: Path): string {
    if (maxLength < minLength) throw refused(path, 'has maxLength below minLength')
    const read = pattern === undefined ? undefined : patternRule(pattern, minLength, maxLength)
    if (pattern !== undefined && read === undefined) this.#ignore([...path, 'pattern'])
    const known = read ?? (format === undefined || !Object.hasOwn(formats, format) ? undefined : formats[format])
    if (known === undefined) return `"\\"" ${repeated('char', minLength, maxLength)} "\\""`
    if (known.least > maxLength || known.most < minLength) throw refused(path, 'allows no string')
    if (known.least < minLength) this.#ignore([...path, 'minLength'])
    if (known.most > maxLength) this.#ignore([...path, 'maxLength'])
    return `"\\"" ${known.rule} "\\""`
  }

  #arrayRule({ items, prefixItems = [], minItems = 0, maxItems = Infinity, uniqueItems }: Node, path: Path): string {
    if (maxItems < minItems) throw refused(path, 'has maxItems below minItems')
    if (uniqueItems && maxItems > 1) {
      const unique = prefixItems.length > 0 ? undefined : this.#uniqueRule(items, minItems, maxItems, path)
      if (unique !== undefined) return unique
      this.#ignore([...path, 'uniqueItems'])
    }
    if (items === undefined && prefixItems.length === 0 && minItems === 0 && maxItems === Infinity) return 'array'
    const first: string[] = []
    for (const [i, item] of prefixItems.entries()) {
      const rule = this.#named(item, [...path, 'prefixItems', i])
      if (rule === undefined) break
      first.push(rule)
    }
    const ends = first.length < prefixItems.length
    const rest = ends ? undefined : items === undefined ? 'value' : this.#named(items, [...path, 'items'])
    const up = rest === undefined ? Math.min(maxItems, first.length) : maxItems
    if (up < minItems) throw refused(path, `needs ${minItems} items, and allows ${up}`)
    // From the last item to the first: what may follow it.
    let tail =
      rest === undefined || up <= first.length
        ? ''
        : repeated(`("," ws ${rest})`, Math.max(0, minItems - first.length), up - first.length)
    for (let i = Math.min(first.length, up) - 1; i >= 0; i--) {
      const comma = i === 0 ? '' : '"," ws '
      tail = i < minItems ? `${comma}${first[i]} ${tail}` : `(${comma}${first[i]} ${tail})?`
    }
    if (first.length === 0) {
      const more = rest === undefined ? '' : repeated(`("," ws ${rest})`, Math.max(0, minItems - 1), up - 1)
      tail = rest === undefined || up === 0 ? '' : minItems > 0 ? `${rest} ${more}` : `(${rest} ${more})?`
    }
    return `"[" ws ${tail} "]" ws`
  }

  /** Different values of an enum, in the order of the enum. @returns undefined if the items are of no enum */
  #uniqueRule(items: unknown, minItems: number, maxItems: number, path: Path): string | undefined {
    const node = this.#flat(asNode(readNode(items ?? true, path)), path)
    const values = node?.enum?.filter((value) => fits(value, node)) ?? []
    const texts = [...new Set(values.map((value) => JSON.stringify(value)))]
    const up = Math.min(maxItems, texts.length)
    if (texts.length === 0 || minItems > texts.length || texts.length * (up + 1) > most.unique) return undefined
    const nameOf = (index: number, taken: number) => `${this.#name}-unique-${this.rules.size}-${index}-${taken}`
    let next: string[] = Array.from({ length: up + 1 }, (_, taken) => (taken < minItems ? '' : '""'))
    for (const [index, text] of [...texts.entries()].reverse())
      next = next.map((after, taken) => {
        const more = next[taken + 1]
        const ways = [
          ...(after === '' ? [] : [after]),
          ...(more === undefined || more === '' ? [] : [`${taken === 0 ? '' : '"," ws '}${literal(text)} ws ${more}`]),
        ]
        if (ways.length === 0) return ''
        const name = nameOf(index, taken)
        this.rules.set(name, ways.join(' | '))
        return name
      })
    return `"[" ws ${next[0]} "]" ws`
  }

  #objectRule(node: Node, path: Path): string {
    const { properties = {}, required = [], additionalProperties, patternProperties = {}, propertyNames } = node
    const { minProperties = 0, maxProperties = Infinity } = node
    const patterns = Object.entries(patternProperties)
    if (Object.keys(properties).length + required.length > 2 * most.nodes)
      throw refused(path, 'has too many properties')
    const listed = Object.keys(properties)
    const unlisted = [...new Set(required)].filter((name) => !Object.hasOwn(properties, name))
    const isClosed = listed.length > 0 || required.length > 0 || patterns.length > 0
    const open = additionalProperties ?? !isClosed
    const names = this.#namesRule(propertyNames, listed.length + unlisted.length > 0, path)
    if (Array.isArray(names)) {
      const members = Object.fromEntries(
        names.map((name): [string, unknown] => [name, Object.hasOwn(properties, name) ? properties[name] : open]),
      )
      return this.#objectRule(
        { ...node, properties: members, additionalProperties: false, propertyNames: undefined },
        path,
      )
    }
    const isFree = names === undefined && patterns.length === 0 && minProperties === 0 && maxProperties === Infinity
    if (!isClosed && open === true && isFree) return 'object'
    if (unlisted.length > 0 && open === false && patterns.length === 0)
      throw refused(path, `requires ${JSON.stringify(unlisted[0])}, which is not one of its properties`)
    const members = this.#membersOf([...listed, ...unlisted], node, open, path)
    const others = this.#othersRule([...listed, ...unlisted], patterns, open, names, path)
    const least = members.filter(({ needed }) => needed).length
    const isCounted = members.length === 0 && others !== ''
    if (!isCounted && minProperties > least && !(others === '' && minProperties <= 1 && members.length === 0))
      this.#ignore([...path, 'minProperties'])
    if (isCounted && minProperties > 1) this.#ignore([...path, 'minProperties'])
    if (!isCounted && maxProperties < (others === '' ? members.length : Infinity))
      this.#ignore([...path, 'maxProperties'])
    if (!isCounted) return `"{" ws ${this.#members(members, others)} "}" ws`
    // A name that is repeated counts once, so a minimum of one is what can be held to.
    const more = repeated(`("," ws ${others})`, 0, maxProperties - 1)
    const inside = maxProperties === 0 ? '' : minProperties > 0 ? `${others} ${more}` : `(${others} ${more})?`
    return `"{" ws ${inside} "}" ws`
  }

  /** @returns a rule of the names, or a list of them; undefined if any are allowed */
  #namesRule(propertyNames: unknown, hasMembers: boolean, path: Path): string | string[] | undefined {
    if (propertyNames === undefined) return undefined
    const at = [...path, 'propertyNames']
    const node = this.#flat(asNode(readNode(propertyNames, at)), at)
    if (node === undefined) return []
    const { type: _, ...constraints } = node
    if (Object.keys(constraints).length === 0) return undefined
    if (node.enum !== undefined) return node.enum.filter((name) => typeof name === 'string')
    if (Object.keys(constraints).every((key) => implied[key] === 'string') && !hasMembers)
      return this.#stringRule(node, at)
    this.#ignore(at)
    return undefined
  }

  #membersOf(names: readonly string[], { properties = {}, required = [] }: Node, open: unknown, path: Path): Member[] {
    const needed = new Set(required)
    if (!names.every(isShort)) throw refused(path, `has a property name of more than ${most.name} characters`)
    return names.flatMap((name) => {
      const isListed = Object.hasOwn(properties, name)
      const at = isListed ? [...path, 'properties', name] : [...path, 'additionalProperties']
      const value = this.#named(isListed ? properties[name] : open === false ? true : open, at)
      if (value === undefined && needed.has(name)) throw refused(at, 'is required and allows nothing')
      return value === undefined
        ? []
        : [{ rule: `${literal(JSON.stringify(name))} ws ":" ws ${value}`, needed: needed.has(name) }]
    })
  }

  /** A member that is not listed. @returns an empty text if there is none */
  #othersRule(
    listed: readonly string[],
    patterns: readonly [string, unknown][],
    open: unknown,
    names: string | undefined,
    path: Path,
  ): string {
    const isMixed =
      listed.length > 0 || patterns.some(([, value]) => !sameJson(value, patterns[0]?.[1])) || names !== undefined
    if (patterns.length > 0 && isMixed) this.#ignore([...path, 'patternProperties'])
    const ways = patterns.flatMap(([pattern, schema]) => {
      const at = [...path, 'patternProperties', pattern]
      const name = this.#stringRule({ pattern }, at)
      const value = this.#named(schema, at)
      return value === undefined ? [] : [`${name} ws ":" ws ${value}`]
    })
    if (patterns.length > 0) return ways.length === 0 ? '' : alternatives(ways)
    const value = open === false ? undefined : this.#named(open, [...path, 'additionalProperties'])
    return value === undefined ? '' : `${names ?? stringExcept(listed)} ws ":" ws ${value}`
  }

  /** Members in order, each optional one present or not, with a comma before each but the first. */
  #members(members: readonly Member[], others: string): string {
    const found = members.findIndex(({ needed }) => needed)
    const first = found < 0 ? members.length : found
    let after = others === '' ? '' : `("," ws ${others})*`
    for (const { rule, needed } of members.slice(first + 1).reverse())
      after = needed ? `"," ws ${rule} ${after}` : `("," ws ${rule})? ${after}`
    const needed = members[first]
    let start = needed === undefined ? (others === '' ? '' : `(${others} ${after})?`) : `${needed.rule} ${after}`
    if (needed !== undefined) after = `"," ws ${needed.rule} ${after}`
    // What follows an optional member is used twice, so it becomes a rule: otherwise the grammar would double with each.
    for (const { rule } of members.slice(0, first).reverse()) {
      const [member, tail, rest] = [this.#add(rule), this.#add(after), this.#add(start)]
      start = `(${member} ${tail} | ${rest})`
      after = `("," ws ${member})? ${tail}`
    }
    return start
  }

  /** Adds a rule for a body. @returns its name */
  #add(body: string): string {
    if (body === '') return '""'
    if (/^[a-z0-9-]+$/.test(body)) return body
    const known = this.#names.get(body)
    if (known !== undefined) return known
    const name = `${this.#name}-${this.rules.size}`
    this.#names.set(body, name)
    this.rules.set(name, body)
    return name
  }

  #named(schema: unknown, path: Path): string | undefined {
    const body = this.#rule(schema, path)
    return body === undefined ? undefined : this.#add(body)
  }

  /** Writes a rule once, of a schema that may refer to itself. @param key says which schema it is */
  #once(key: string, path: Path, write: () => string | undefined): string {
    const known = this.#references.get(key)
    if (known !== undefined) {
      if (this.#open.get(key) === this.#containers) throw refused(path, 'refers to itself with nothing in between')
      return known
    }
    // The name is known before the rule.
    const name = `${this.#name}-ref-${this.#references.size}`
    this.#references.set(key, name)
    this.#open.set(key, this.#containers)
    const body = write()
    if (body === undefined) throw refused(path, 'refers to what allows nothing')
    this.rules.set(name, body)
    this.#open.delete(key)
    return name
  }

  /** Resolves a JSON pointer (RFC 6901) within the schema. Nothing is ever fetched. */
  #target(reference: string, path: Path): unknown {
    if (reference !== '#' && !reference.startsWith('#/'))
      throw refused(path, 'has a $ref to another document, which is not supported')
    let target = this.#root
    for (const part of reference.split('/').slice(1)) {
      const inside = typeof target === 'object' && target !== null ? Object.entries(target) : []
      const found = inside.find(([key]) => key === unescaped(part))
      if (found === undefined) throw refused(path, 'has a $ref to a place that does not exist')
      target = found[1]
    }
    return target
  }

  #ignore(path: Path): void {
    if (this.#strict) throw refused(path.slice(0, -1), `has ${String(path.at(-1))}, which cannot be enforced`)
    if (!this.ignored.some((known) => sameJson(known, path))) this.ignored.push(path)
  }
}

interface Member {
  readonly rule: string
  readonly needed: boolean
}

const isShort = (name: string): boolean => name.length <= most.name

/** A name as a part of a JSON pointer. */
const pointed = (name: string): string => encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'))

/** A part of a JSON pointer as a name. */
function unescaped(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return part
  }
}

const asNode = (node: Node | boolean): Node => (typeof node === 'boolean' ? {} : node)

/** Natural numbers that a divisor of 1,000 divides, by their last digits. @returns undefined for other divisors */
function multiplesOf(divisor: number): string | undefined {
  const digits = [1, 2, 3].find((count) => 10 ** count % divisor === 0)
  if (digits === undefined) return undefined
  const endings = Array.from({ length: 10 ** digits / divisor }, (_, i) => String(i * divisor))
  const long = endings.map((ending) => literal(ending.padStart(digits, '0'))).join(' | ')
  return `${endings.map(literal).join(' | ')} | [1-9] [0-9]{0,${14 - digits}} (${long})`
}

/** Values of an enum that the other keywords allow, as far as that takes no search. */
function enumRule(node: Node): string | undefined {
  const values = node.enum?.filter((value) => fits(value, node)) ?? []
  return values.length === 0 ? undefined : `(${values.map((value) => literal(JSON.stringify(value))).join(' | ')}) ws`
}

function fits(
  value: unknown,
  { type, minLength = 0, maxLength = Infinity, minimum = -Infinity, maximum = Infinity }: Node,
): boolean {
  if (type !== undefined && !typesOf(value).some((one) => type.includes(one))) return false
  if (typeof value === 'number') return minimum <= value && value <= maximum
  return typeof value !== 'string' || (minLength <= [...value].length && [...value].length <= maxLength)
}

function typesOf(value: unknown): TypeName[] {
  if (value === null) return ['null']
  if (Array.isArray(value)) return ['array']
  if (typeof value === 'number') return Number.isInteger(value) ? ['integer', 'number'] : ['number']
  if (typeof value === 'object') return ['object']
  return typeof value === 'string' ? ['string'] : ['boolean']
}

/** Whether no value matches both, as their types, values or a common property show. */
function areDisjoint(a: Node, b: Node): boolean {
  const [first, second] = [a, b].map(
    (node) => node.type ?? (node.enum === undefined ? every : [...new Set(node.enum.flatMap(typesOf))]),
  ) as [readonly TypeName[], readonly TypeName[]]
  const isIn = (type: TypeName, others: readonly TypeName[]) =>
    others.includes(type) ||
    (type === 'integer' && others.includes('number')) ||
    (type === 'number' && others.includes('integer'))
  if (!first.some((type) => isIn(type, second))) return true
  if (
    a.enum !== undefined &&
    b.enum !== undefined &&
    !a.enum.some((value) => b.enum?.some((other) => sameJson(value, other)))
  )
    return true
  const tags = (a.required ?? []).filter((name) => b.required?.includes(name))
  return tags.some((name) => {
    const [one, other] = [a.properties?.[name], b.properties?.[name]].map((schema) => constants(schema))
    return one !== undefined && other !== undefined && !one.some((value) => other.includes(value))
  })
}

/** The values that a schema allows, as JSON, if it lists them. */
function constants(schema: unknown): string[] | undefined {
  if (typeof schema !== 'object' || schema === null) return undefined
  if ('const' in schema) return [JSON.stringify(schema.const)]
  return 'enum' in schema && Array.isArray(schema.enum) ? schema.enum.map((value) => JSON.stringify(value)) : undefined
}

const alternatives = (rules: readonly string[]): string =>
  rules.length === 1 ? rules.join() : `(${rules.join(' | ')})`
