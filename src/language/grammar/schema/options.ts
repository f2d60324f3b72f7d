import { alternatives } from '../rules.ts'
import type { SchemaContext } from './context.ts'
import { flatAt } from './merge.ts'
import { every, isShort, type Node, type Path, type TypeName } from './node.ts'
import { typesOf } from './values.ts'

/** Names and values of options that are compared with those of other options. */
const mostComparisons = 100_000

/** Options that are compared, and values of a property that says which of them it is. */
const [mostOptions, mostTags] = [128, 1000]

/** The rule of a schema with `anyOf` or `oneOf`. @returns undefined if it allows nothing */
export function optionsRule(node: Node, path: Path, context: SchemaContext): string | undefined {
  const { anyOf, oneOf, ...others } = node
  const keyword = anyOf === undefined ? 'oneOf' : 'anyOf'
  const common: Node = anyOf === undefined ? others : { ...others, ...(oneOf === undefined ? {} : { oneOf }) }
  const options = anyOf ?? oneOf ?? []
  if (keyword === 'oneOf' && !areDistinct(options, path, context)) context.ignore([...path, keyword])
  const isBare = Object.keys(common).length === 0
  const bodies = options.map((option, i) =>
    context.rule(isBare ? option : { allOf: [common, option] }, [...path, keyword, i]),
  )
  const possible = bodies.filter((body) => body !== undefined)
  return possible.length === 0 ? undefined : alternatives(possible)
}

/** What `not` excludes: some types, or some texts. */
export function excluded(
  given: Node,
  path: Path,
  context: SchemaContext,
): 'all' | { types: readonly TypeName[]; words: readonly string[] } {
  const { not, type, enum: values, anyOf, oneOf, pattern, format, minLength, maxLength } = given
  const nothing = { types: [], words: [] }
  if (not === undefined) return nothing
  const node = context.node(not, [...path, 'not'])
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
  context.ignore([...path, 'not'])
  return nothing
}

/** Whether a value can match only one of some schemas. */
function areDistinct(options: readonly unknown[], path: Path, context: SchemaContext): boolean {
  if (options.length > mostOptions) return false
  const traits = options.map((option) => traitsOf(flatAt(option, path, context) ?? {}, context))
  const compared = traits.flatMap(({ values, required }) => [values?.size ?? 1, ...sizesOf(required)])
  return (
    options.length * compared.reduce((sum, size) => sum + size, 0) <= mostComparisons &&
    traits.every((one, i) => traits.slice(i + 1).every((other) => areDisjoint(one, other)))
  )
}

/** What shows that a value does not match a schema. */
interface Traits {
  readonly types: readonly TypeName[]
  /** As JSON. */
  readonly values: ReadonlySet<string> | undefined
  /** The values of properties that must be there, if they are listed. */
  readonly required: ReadonlyMap<string, ReadonlySet<string> | undefined>
}

const sizesOf = (required: Traits['required']): number[] => [...required.values()].map((values) => values?.size ?? 1)

const traitsOf = ({ type, enum: values, required = [], properties = {} }: Node, context: SchemaContext): Traits => ({
  types: type ?? (values === undefined ? every : [...new Set(values.flatMap(typesOf))]),
  values: values === undefined ? undefined : textsOf(values, context),
  required: new Map(
    required.map((name) => [name, constants(Object.hasOwn(properties, name) ? properties[name] : undefined, context)]),
  ),
})

/** Whether no value matches both, as their types, values or a common property show. */
function areDisjoint(a: Traits, b: Traits): boolean {
  const isIn = (type: TypeName, others: readonly TypeName[]) =>
    others.includes(type) ||
    (type === 'integer' && others.includes('number')) ||
    (type === 'number' && others.includes('integer'))
  if (!a.types.some((type) => isIn(type, b.types)) || haveNone(a.values, b.values)) return true
  return [...a.required].some(([name, values]) => haveNone(values, b.required.get(name)))
}

/** Whether two lists of values are known, and have none in common. */
const haveNone = (some: ReadonlySet<string> | undefined, others: ReadonlySet<string> | undefined): boolean =>
  some !== undefined && others !== undefined && ![...some].some((value) => others.has(value))

/** The values that a schema allows, as JSON, if it lists them. */
function constants(schema: unknown, context: SchemaContext): Set<string> | undefined {
  if (typeof schema !== 'object' || schema === null) return undefined
  const values = 'const' in schema ? [schema.const] : 'enum' in schema && Array.isArray(schema.enum) ? schema.enum : []
  return values.length === 0 || values.length > mostTags ? undefined : textsOf(values, context)
}

function textsOf(values: readonly unknown[], context: SchemaContext): Set<string> {
  context.spendOn(values)
  return new Set(values.map((value) => JSON.stringify(value)))
}
