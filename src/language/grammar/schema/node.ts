import { z } from 'zod'
import { untilWrong } from '../../../allowed.ts'
import { OrielError } from '../../../errors.ts'

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
const keywords = z.object({
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
}).shape
type Parsed = z.output<z.ZodObject<typeof keywords>>

/** Values of a list. */
const mostValues = 30_000

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
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
    throw refused(path, 'is not valid: expected an object or a boolean')
  const parsed: Record<string, unknown> = {}
  // Most schemas have few of the keywords.
  for (const [key, value] of Object.entries(schema)) {
    const keyword = Object.hasOwn(keywords, key) ? keywords[key as keyof Parsed] : undefined
    if (keyword === undefined || value === undefined) continue
    if (Array.isArray(value) && value.length > mostValues)
      throw refused([...path, key], `has more than ${mostValues} values`)
    const read = keyword.safeParse(value, untilWrong)
    if (!read.success) {
      const [issue] = read.error.issues
      throw refused([...path, key, ...(issue?.path ?? []).map(String)], `is not valid: ${issue?.message ?? ''}`)
    }
    parsed[key] = read.data
  }
  return modern(parsed)
}

function modern({
  type,
  nullable,
  const: only,
  additionalItems,
  unevaluatedItems,
  unevaluatedProperties,
  exclusiveMinimum,
  exclusiveMaximum,
  ...same
}: Parsed): Node {
  const made: Node = same
  if (same.required !== undefined) made.required = [...new Set(same.required)]
  if (type !== undefined) made.type = [...new Set([type, nullable ? 'null' : []].flat() as TypeName[])]
  if (only !== undefined) {
    const text = JSON.stringify(only)
    made.enum = made.enum === undefined ? [only] : made.enum.filter((value) => JSON.stringify(value) === text)
  }
  if (nullable && made.enum !== undefined) made.enum = [...made.enum, null]
  if (Array.isArray(made.items)) {
    made.prefixItems = made.items
    if (additionalItems === undefined) delete made.items
    else made.items = additionalItems
  }
  if (made.items === undefined && unevaluatedItems !== undefined) made.items = unevaluatedItems
  // Unlike additionalProperties it sees the members of the schemas beside it. Objects that name their members have no others.
  const seesOthers = same.allOf ?? same.$ref ?? same.anyOf ?? same.oneOf
  const closes = unevaluatedProperties === false && seesOthers !== undefined
  if (made.additionalProperties === undefined && unevaluatedProperties !== undefined && !closes)
    made.additionalProperties = unevaluatedProperties
  if (typeof exclusiveMinimum === 'number') made.exclusiveMinimum = exclusiveMinimum
  if (typeof exclusiveMaximum === 'number') made.exclusiveMaximum = exclusiveMaximum
  if (exclusiveMinimum === true) move(made, 'minimum', 'exclusiveMinimum')
  if (exclusiveMaximum === true) move(made, 'maximum', 'exclusiveMaximum')
  return made
}

function move(made: Node, from: 'minimum' | 'maximum', to: 'exclusiveMinimum' | 'exclusiveMaximum'): void {
  if (made[from] !== undefined) made[to] = made[from]
  delete made[from]
}

/** Keywords that constrain one type, and imply it where no type is given. */
export const implied: Readonly<Record<string, TypeName>> = Object.fromEntries(
  (
    [
      ['object', ['properties', 'patternProperties', 'additionalProperties', 'propertyNames', 'required']],
      ['object', ['minProperties', 'maxProperties']],
      ['array', ['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems', 'contains']],
      ['string', ['pattern', 'minLength', 'maxLength', 'format']],
      ['number', ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']],
    ] as const
  ).flatMap(([type, keywords]) => keywords.map((keyword) => [keyword, type])),
)

/** Types that have all values. */
export const every: readonly TypeName[] = ['null', 'boolean', 'number', 'string', 'array', 'object']

/** Characters of a property's name. */
export const mostName = 500
export const isShort = (name: string): boolean => name.length <= mostName

/** Characters of a text that take as long as a value. */
const charactersOfOne = 100

/** The size of a name or a value: that of an array or object is without what is in it. */
export const sizeOfOne = (value: unknown): number =>
  1 + (typeof value === 'string' ? Math.floor(value.length / charactersOfOne) : 0)

/** Names, values and subschemas directly in a schema, and all that is in its values. */
export function sizeOf({ enum: values = [], required = [], ...others }: Node): number {
  let size = 0
  for (const value of Object.values(others))
    size += typeof value === 'object' && value !== null ? Object.keys(value).length : sizeOfOne(value)
  for (const value of [...values, ...required]) for (const part of partsOf(value)) size += sizeOfOne(part)
  return size
}

/** A JSON value, and every name and value in it. */
export function* partsOf(value: unknown): Generator<unknown, void, void> {
  const left = [value]
  while (left.length > 0) {
    const one = left.pop()
    yield one
    if (Array.isArray(one)) for (const inside of one) left.push(inside)
    else if (typeof one === 'object' && one !== null)
      for (const name of Object.keys(one)) left.push(name, (one as Readonly<Record<string, unknown>>)[name])
  }
}

/** The error of a schema that cannot be used. @param reason a predicate: `has no values` */
export const refused = (path: Path, reason: string): OrielError =>
  new OrielError('invalid', `The JSON schema cannot be used: ${['$', ...path].join('.').slice(0, 200)} ${reason}.`, {
    param: 'grammar',
    code: 'invalid_json_schema',
    schemaFault: { path, reason },
  })
