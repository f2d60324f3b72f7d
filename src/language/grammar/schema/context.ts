import { type Node, type Path, partsOf, readNode, refused, sizeOf, sizeOfOne } from './node.ts'

/** What the schemas of one grammar may take together, since a grammar is written while every answer waits. */
export interface Budget {
  /** Characters of the grammar. */
  characters: number
  /** Subschemas, counted again where they are used again, and what takes as long as one. */
  nodes: number
}

/** Writes the body of a rule for a subschema. @returns undefined if it allows nothing */
export type Compile = (schema: unknown, path: Path, context: SchemaContext) => string | undefined

/** Keywords and names from the root to a subschema. */
export const mostDepth = 128

/** Characters of a reference. */
const mostReference = 2000

/** A schema that is becoming rules: what its parts share. */
export class SchemaContext {
  /** Name of the rule of the whole schema, with which all others begin. */
  readonly name: string
  /** Bodies of the rules by their names. */
  readonly rules = new Map<string, string>()
  readonly #root: unknown
  readonly #strict: boolean
  readonly #budget: Budget
  readonly #compile: Compile
  readonly #names = new Map<string, string>()
  readonly #nodes = new Map<unknown, Node | boolean>()
  readonly #ignored = new Map<string, Path>()
  readonly #references = new Map<string, string>()
  /** References that are being written, with the number of containers around them. */
  readonly #open = new Map<string, number>()
  #containers = 0

  /** @param strict whether keywords that cannot be held to are refused */
  constructor(root: unknown, name: string, strict: boolean, budget: Budget, compile: Compile) {
    this.#root = root
    this.name = name
    this.#strict = strict
    this.#budget = budget
    this.#compile = compile
  }

  /** Places of keywords that cannot be held to. */
  get ignored(): Path[] {
    return [...this.#ignored.values()]
  }

  /** The body of a rule for a subschema. @returns undefined if it allows nothing */
  rule(schema: unknown, path: Path): string | undefined {
    this.spend(1)
    return this.#compile(schema, path, this)
  }

  /** The name of a rule for a subschema. @returns undefined if it allows nothing */
  named(schema: unknown, path: Path): string | undefined {
    const body = this.rule(schema, path)
    return body === undefined ? undefined : this.add(body)
  }

  /** Adds a rule for a body. @returns its name */
  add(body: string): string {
    if (body === '') return '""'
    if (/^[a-z0-9-]+$/.test(body)) return body
    const known = this.#names.get(body)
    if (known !== undefined) return known
    const name = `${this.name}-${this.rules.size}`
    this.#names.set(body, name)
    this.set(name, body)
    return name
  }

  set(name: string, body: string): void {
    this.#budget.characters -= name.length + ' ::= \n'.length + body.length
    if (this.#budget.characters < 0) throw refused([], 'is too large')
    this.rules.set(name, body)
  }

  /** Writes a rule once, of a schema that may refer to itself. @param key says which schema it is */
  once(key: string, path: Path, write: () => string | undefined): string {
    const known = this.#references.get(key)
    if (known !== undefined) {
      if (this.#open.get(key) === this.#containers) throw refused(path, 'refers to itself with nothing in between')
      return known
    }
    // The name is known before the rule.
    const name = `${this.name}-ref-${this.#references.size}`
    this.#references.set(key, name)
    this.#open.set(key, this.#containers)
    const body = write()
    if (body === undefined) throw refused(path, 'refers to what allows nothing')
    this.set(name, body)
    this.#open.delete(key)
    return name
  }

  /** Between a reference and its own repetition there must be a container, or the grammar would never read anything. */
  within(write: () => string): string {
    this.#containers++
    const body = write()
    this.#containers--
    return body
  }

  /** A subschema as it was read the first time. @throws OrielError `invalid` */
  node(schema: unknown, path: Path): Node | boolean {
    if (path.length > mostDepth) throw refused(path.slice(0, 8), `is nested more than ${mostDepth} deep`)
    const known = this.#nodes.get(schema)
    if (known !== undefined) return known
    const node = readNode(schema, path)
    this.#nodes.set(schema, node)
    if (typeof node === 'object') this.spend(sizeOf(node) / 10)
    return node
  }

  /** Resolves a JSON pointer (RFC 6901) within the schema. Nothing is ever fetched. */
  target(reference: string, path: Path): unknown {
    if (reference !== '#' && !reference.startsWith('#/'))
      throw refused(path, 'has a $ref to another document, which is not supported')
    let target = this.#root
    for (const part of reference.length > mostReference ? [''] : reference.split('/').slice(1)) {
      const name = unescaped(part)
      if (typeof target !== 'object' || target === null || !Object.prototype.propertyIsEnumerable.call(target, name))
        throw refused(path, 'has a $ref to a place that does not exist')
      target = (target as Readonly<Record<string, unknown>>)[name]
    }
    return target
  }

  /** Notes a keyword that cannot be held to. @throws OrielError `invalid` if the schema is strict */
  ignore(path: Path): void {
    if (this.#strict) throw refused(path.slice(0, -1), `has ${String(path.at(-1))}, which cannot be enforced`)
    this.spendOn(path)
    this.#ignored.set(JSON.stringify(path), path)
  }

  /** @param nodes that what follows takes as long as @throws OrielError `invalid` */
  spend(nodes: number): void {
    this.#budget.nodes -= nodes
    if (this.#budget.nodes < 0) throw refused([], 'is too large: it has too many parts')
  }

  /** Spends what it takes to write a value as JSON, and before that: it may be most of the schema, and written for each reference. */
  spendOn(value: unknown): void {
    for (const part of partsOf(value)) this.spend(sizeOfOne(part) / 50)
  }
}

/** A name as a part of a JSON pointer. */
export const pointed = (name: string): string => encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'))

/** A part of a JSON pointer as a name. */
function unescaped(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return part
  }
}
