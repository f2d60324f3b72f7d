import fc from 'fast-check'

/** The part of JSON Schema that the OpenAPI document uses. */
export interface Schema {
  type?: string | string[]
  anyOf?: Schema[]
  oneOf?: Schema[]
  enum?: unknown[]
  const?: unknown
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  propertyNames?: Schema
  additionalProperties?: Schema | boolean
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  minItems?: number
  pattern?: string
}

const words = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.constantFrom(
    '',
    'scripted',
    'pocket',
    '<image>',
    '<|im_end|>',
    '__proto__',
    'data:image/png;base64,iVBORw0KGgo=',
    '0',
    'null',
  ),
)

const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.double(),
  fc.constantFrom(-1, 0, 1e308, 2 ** 53, null, [], {}, [[]]),
)

/** Values that match a schema; about 2 % do not. */
export function fromSchema(schema: Schema): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 40, arbitrary: valid(schema) }, { weight: 1, arbitrary: junk })
}

function valid(schema: Schema): fc.Arbitrary<unknown> {
  const branches = schema.anyOf ?? schema.oneOf
  if (branches !== undefined) return fc.oneof(...branches.map(valid))
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  if ('const' in schema) return fc.constant(schema.const)
  if (Array.isArray(schema.type)) return fc.oneof(...schema.type.map((type) => valid({ ...schema, type })))
  switch (schema.type) {
    case 'object':
      return object(schema)
    case 'array':
      return fc.array(fromSchema(schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength: 3 })
    case 'string':
      return schema.pattern === undefined ? words : fc.oneof(words, fc.stringMatching(new RegExp(schema.pattern)))
    case 'integer': {
      const min = Math.max(schema.minimum ?? -10, -1000)
      return fc.integer({ min, max: Math.min(schema.maximum ?? Number.POSITIVE_INFINITY, min + 1000) })
    }
    case 'number':
      return fc.double({
        min: schema.minimum ?? schema.exclusiveMinimum ?? -10,
        max: schema.maximum ?? 10,
        noNaN: true,
      })
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    default:
      return fc.jsonValue({ maxDepth: 1 })
  }
}

function object({
  properties = {},
  required = [],
  propertyNames,
  additionalProperties,
}: Schema): fc.Arbitrary<unknown> {
  const known = fc
    .record(
      Object.fromEntries(
        Object.entries(properties).map(([name, schema]) => [
          name,
          // Optional parameters are rare, so that most requests are valid.
          required.includes(name)
            ? fromSchema(schema)
            : fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fromSchema(schema) }),
        ]),
      ),
    )
    .map((made) => Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined)))
  if (typeof additionalProperties !== 'object' || Object.keys(properties).length > 0) return known
  return fc.dictionary(
    propertyNames === undefined ? words : (valid(propertyNames) as fc.Arbitrary<string>),
    fromSchema(additionalProperties),
    { maxKeys: 3 },
  )
}
