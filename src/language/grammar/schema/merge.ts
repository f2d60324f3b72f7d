import { mostDepth, type SchemaContext } from './context.ts'
import { type Node, type Path, refused, sizeOf } from './node.ts'

/** A schema with what its `$ref` and `allOf` name. @returns undefined if it allows nothing */
export function flat({ allOf = [], $ref, ...own }: Node, path: Path, context: SchemaContext): Node | undefined {
  let sum: Node = own
  const parts = allOf.map((part, i): readonly [unknown, Path] => [part, [...path, 'allOf', i]])
  if ($ref !== undefined) parts.push([context.target($ref, path), [...path, '$ref']])
  for (const [part, at] of parts) {
    if (at.length > mostDepth)
      throw refused(path.slice(0, 8), 'is nested too deep, or refers to itself with nothing in between')
    const read = context.node(part, at)
    const node = typeof read === 'boolean' ? (read ? {} : undefined) : flat(read, at, context)
    if (node === undefined) return undefined
    context.spend(1 + (sizeOf(sum) + sizeOf(node)) / 20)
    const { node: both, lost } = merged(sum, node)
    for (const keyword of lost) context.ignore([...at, keyword])
    sum = both
  }
  // Merging may have made new ones.
  return sum.allOf === undefined ? sum : flat(sum, [...path, 'allOf'], context)
}

/** What a schema of its own allows, whatever it refers to. @returns undefined if it allows nothing */
export function flatAt(schema: unknown, path: Path, context: SchemaContext): Node | undefined {
  const node = context.node(schema, path)
  return typeof node === 'boolean' ? {} : flat(node, path, context)
}

/** How a keyword of two schemas becomes one of both. */
const merges: { [Key in keyof Node]?: (a: NonNullable<Node[Key]>, b: NonNullable<Node[Key]>) => Node[Key] } = {
  type: (a, b) =>
    a.flatMap((one) =>
      b.includes(one)
        ? [one]
        : one === 'number' && b.includes('integer')
          ? ['integer' as const]
          : one === 'integer' && b.includes('number')
            ? [one]
            : [],
    ),
  enum: (a, b) => {
    const others = new Set(b.map((value) => JSON.stringify(value)))
    return a.filter((value) => others.has(JSON.stringify(value))) as [unknown, ...unknown[]]
  },
  required: (a, b) => [...new Set([...a, ...b])],
  properties: (a, b) => inBoth(a, b),
  patternProperties: (a, b) => inBoth(a, b),
  additionalProperties: both,
  propertyNames: both,
  items: both,
  prefixItems: (a, b) =>
    Array.from({ length: Math.max(a.length, b.length) }, (_, i) => both(a[i] ?? true, b[i] ?? true)),
  anyOf: pairs,
  oneOf: pairs,
  minProperties: Math.max,
  maxProperties: Math.min,
  minItems: Math.max,
  maxItems: Math.min,
  uniqueItems: (a, b) => a || b,
  minLength: Math.max,
  maxLength: Math.min,
  minimum: Math.max,
  maximum: Math.min,
  exclusiveMinimum: Math.max,
  exclusiveMaximum: Math.min,
  multipleOf: (a, b) => (b % a === 0 ? b : a % b === 0 ? a : undefined),
}

/**
 * One schema of two that both apply.
 * @returns also the keywords of both that cannot become one: the first one's is kept
 */
function merged(first: Node, second: Node): { node: Node; lost: string[] } {
  const lost: string[] = []
  const [a, b] = [closedTo(first, second), closedTo(second, first)]
  const sum: Record<string, unknown> = { ...a }
  for (const [key, value] of Object.entries(b)) {
    const before = sum[key]
    if (before === undefined || sameJson(before, value)) {
      sum[key] = value
      continue
    }
    const merge = merges[key as keyof Node] as ((a: unknown, b: unknown) => unknown) | undefined
    const made = merge?.(before, value)
    if (made === undefined) lost.push(key)
    else sum[key] = made
  }
  return { node: sum as Node, lost }
}

/** The properties of a schema as another one's `additionalProperties` allow them. */
function closedTo(node: Node, { properties = {}, additionalProperties, patternProperties }: Node): Node {
  if (node.properties === undefined || additionalProperties === undefined || patternProperties !== undefined)
    return node
  const entries = Object.entries(node.properties).map(([name, value]) => [
    name,
    Object.hasOwn(properties, name) ? value : both(value, additionalProperties),
  ])
  return { ...node, properties: Object.fromEntries(entries) }
}

/** Every option of one with every option of the other. */
function pairs(a: readonly unknown[], b: readonly unknown[]): [unknown, ...unknown[]] | undefined {
  const [first, ...others] =
    a.length * b.length > mostPairs ? [] : a.flatMap((one) => b.map((other) => both(one, other)))
  return first === undefined ? undefined : [first, ...others]
}

const mostPairs = 256

function both(a: unknown, b: unknown): unknown {
  if (a === true || sameJson(a, b)) return b
  return b === true ? a : { allOf: [a, b] }
}

function inBoth(a: Record<string, unknown>, b: Record<string, unknown>): Record<string, unknown> {
  const sum = new Map(Object.entries(a))
  for (const [key, value] of Object.entries(b)) sum.set(key, sum.has(key) ? both(sum.get(key), value) : value)
  return Object.fromEntries(sum)
}

/** Values that are compared before two are taken for different: two schemas that are the same may then apply both. */
const mostCompared = 200

/** Names of the objects that were compared. One may have thousands, and is compared with as many others. */
const known = new WeakMap<object, readonly string[]>()

function namesOf(value: object): readonly string[] {
  const names = known.get(value) ?? Object.keys(value)
  known.set(value, names)
  return names
}

/** Whether two JSON values are the same, as far as that is known soon. */
export function sameJson(first: unknown, second: unknown): boolean {
  let left = mostCompared
  const isSame = (a: unknown, b: unknown): boolean => {
    if (Object.is(a, b)) return true
    if (left-- <= 0 || typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
    const [names, others] = [namesOf(a), namesOf(b)]
    return (
      names.length === others.length &&
      names.length <= left &&
      Array.isArray(a) === Array.isArray(b) &&
      names.every(
        (name, i) =>
          name === others[i] && isSame((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]),
      )
    )
  }
  return isSame(first, second)
}
