import { z } from 'zod'
import { OrielError } from '../../errors.ts'

/** Keywords, property names and indexes from the schema's root. */
export type Path = readonly (string | number)[]

const typeNames = z.enum(['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'])
export type TypeName = z.output<typeof typeNames>

const count = z.int().nonnegative()
/** zod's record would drop `__proto__`. */
const members = z.custom<Record<string, unknown>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'must be an object',
)
const schemas = z.array(z.unknown()).nonempty()
/** A bound; in draft 4, whether the other bound is excluded. */
const exclusive = z.union([z.number(), z.boolean()])

/** The keywords that constrain anything. All others are annotations. Subschemas are not parsed yet. */
const node = z.object({
  $ref: z.string().optional(),
  $dynamicRef: z.string().optional(),
  type: z.union([typeNames, z.array(typeNames).nonempty()]).optional(),
  /** OpenAPI 3.0. */
  nullable: z.boolean().optional(),
  enum: z.array(z.unknown()).nonempty().optional(),
  const: z.unknown().optional(),
  anyOf: schemas.optional(),
  oneOf: schemas.optional(),
  allOf: schemas.optional(),
  not: z.unknown().optional(),
  if: z.unknown().optional(),
  properties: members.optional(),
  patternProperties: members.optional(),
  additionalProperties: z.unknown().optional(),
  unevaluatedProperties: z.unknown().optional(),
  propertyNames: z.unknown().optional(),
  required: z.array(z.string()).optional(),
  minProperties: count.optional(),
  maxProperties: count.optional(),
  dependentRequired: z.unknown().optional(),
  dependentSchemas: z.unknown().optional(),
  dependencies: z.unknown().optional(),
  /** In older drafts, a list of the first ones. */
  items: z.unknown().optional(),
  prefixItems: z.array(z.unknown()).optional(),
  additionalItems: z.unknown().optional(),
  unevaluatedItems: z.unknown().optional(),
  contains: z.unknown().optional(),
  minItems: count.optional(),
  maxItems: count.optional(),
  uniqueItems: z.boolean().optional(),
  minLength: count.optional(),
  maxLength: count.optional(),
  pattern: z.string().optional(),
  format: z.string().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: exclusive.optional(),
  exclusiveMaximum: exclusive.optional(),
  multipleOf: z.number().positive().optional(),
})
type Parsed = z.output<typeof node>

/** A schema in the words of draft 2020-12. */
export interface Node
  extends Omit<
    Parsed,
    | 'type'
    | 'nullable'
    | 'const'
    | 'exclusiveMinimum'
    | 'exclusiveMaximum'
    | 'additionalItems'
    | 'unevaluatedItems'
    | 'unevaluatedProperties'
  > {
  type?: readonly TypeName[]
  exclusiveMinimum?: number
  exclusiveMaximum?: number
}

/** A schema that allows everything or nothing is a boolean. @throws OrielError `invalid` */
export function readNode(schema: unknown, path: Path): Node | boolean {
  if (typeof schema === 'boolean') return schema
  const parsed = node.safeParse(schema)
  if (parsed.success) return modern(parsed.data)
  const [issue] = parsed.error.issues
  throw refused([...path, ...(issue?.path ?? []).map(String)], `is not valid: ${issue?.message ?? ''}`)
}

function modern({
  type,
  nullable,
  const: only,
  additionalItems,
  unevaluatedItems,
  unevaluatedProperties,
  ...rest
}: Parsed): Node {
  const { exclusiveMinimum, exclusiveMaximum, ...same } = rest
  const made: Node = { ...same }
  if (type !== undefined) made.type = [...new Set([type, nullable ? 'null' : []].flat() as TypeName[])]
  if (only !== undefined)
    made.enum = made.enum === undefined ? [only] : made.enum.filter((value) => sameJson(value, only))
  if (nullable && made.enum !== undefined) made.enum = [...made.enum, null]
  if (Array.isArray(made.items)) {
    made.prefixItems = made.items
    if (additionalItems === undefined) delete made.items
    else made.items = additionalItems
  }
  if (made.items === undefined && unevaluatedItems !== undefined) made.items = unevaluatedItems
  if (made.additionalProperties === undefined && unevaluatedProperties !== undefined)
    made.additionalProperties = unevaluatedProperties
  if (typeof exclusiveMinimum === 'number') made.exclusiveMinimum = exclusiveMinimum
  if (typeof exclusiveMaximum === 'number') made.exclusiveMaximum = exclusiveMaximum
  if (exclusiveMinimum === true) move(made, 'minimum', 'exclusiveMinimum')
  if (exclusiveMaximum === true) move(made, 'maximum', 'exclusiveMaximum')
  for (const key of Object.keys(made) as (keyof Node)[]) if (made[key] === undefined) delete made[key]
  return made
}

function move(made: Node, from: 'minimum' | 'maximum', to: 'exclusiveMinimum' | 'exclusiveMaximum'): void {
  if (made[from] !== undefined) made[to] = made[from]
  delete made[from]
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
  enum: (a, b) => a.filter((value) => b.some((other) => sameJson(value, other))) as [unknown, ...unknown[]],
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
export function merged(first: Node, second: Node): { node: Node; lost: string[] } {
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

export const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** The error of a schema that cannot be used. @param reason a predicate: `has no values` */
export const refused = (path: Path, reason: string): OrielError =>
  new OrielError('invalid', `The JSON schema cannot be used: ${['$', ...path].join('.').slice(0, 200)} ${reason}.`, {
    param: 'grammar',
    code: 'invalid_json_schema',
    schemaFault: { path, reason },
  })
