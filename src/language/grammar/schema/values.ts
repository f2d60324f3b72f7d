import { literal } from '../rules.ts'
import type { SchemaContext } from './context.ts'
import type { Node, TypeName } from './node.ts'

/** Values of an enum that the other keywords allow, as far as that takes no search, as JSON. */
export function valuesOf(node: Node, context: SchemaContext): string[] {
  context.spendOn(node.enum)
  return (node.enum ?? []).filter((value) => fits(value, node)).map((value) => JSON.stringify(value))
}

export function enumRule(node: Node, context: SchemaContext): string | undefined {
  const values = valuesOf(node, context)
  return values.length === 0 ? undefined : `(${values.map(literal).join(' | ')}) ws`
}

export function typesOf(value: unknown): TypeName[] {
  if (value === null) return ['null']
  if (Array.isArray(value)) return ['array']
  if (typeof value === 'number') return Number.isInteger(value) ? ['integer', 'number'] : ['number']
  if (typeof value === 'object') return ['object']
  return typeof value === 'string' ? ['string'] : ['boolean']
}

function fits(
  value: unknown,
  { type, minLength = 0, maxLength = Infinity, minimum = -Infinity, maximum = Infinity }: Node,
): boolean {
  if (type !== undefined && !typesOf(value).some((one) => type.includes(one))) return false
  if (typeof value === 'number') return minimum <= value && value <= maximum
  if (typeof value !== 'string') return true
  const { length } = [...value]
  return minLength <= length && length <= maxLength
}
