import { alternatives, literal, repeated } from '../rules.ts'
import type { SchemaContext } from './context.ts'
import { flatAt, sameJson } from './merge.ts'
import { implied, isShort, mostName, type Node, type Path, refused } from './node.ts'
import { stringExceptRule, stringRule } from './scalars.ts'

/** A property of an object, as a rule of its name and value. */
interface Member {
  readonly rule: string
  readonly needed: boolean
}

export function objectRule(node: Node, path: Path, context: SchemaContext): string {
  const { properties = {}, required = [], additionalProperties, patternProperties = {}, propertyNames } = node
  const { minProperties = 0, maxProperties = Infinity } = node
  const patterns = Object.entries(patternProperties)
  const listed = Object.keys(properties)
  const unlisted = required.filter((name) => !Object.hasOwn(properties, name))
  const isClosed = listed.length > 0 || required.length > 0 || patterns.length > 0
  const open = additionalProperties ?? !isClosed
  const names = namesRule(propertyNames, listed.length + unlisted.length > 0, path, context)
  if (Array.isArray(names)) {
    const members = Object.fromEntries(
      names.map((name): [string, unknown] => [name, Object.hasOwn(properties, name) ? properties[name] : open]),
    )
    const { propertyNames: _, ...others } = node
    return objectRule({ ...others, properties: members, additionalProperties: false }, path, context)
  }
  const isFree = names === undefined && patterns.length === 0 && minProperties === 0 && maxProperties === Infinity
  if (!isClosed && open === true && isFree) return 'object'
  if (unlisted.length > 0 && open === false && patterns.length === 0)
    throw refused(path, `requires ${JSON.stringify(unlisted[0]?.slice(0, 100))}, which is not one of its properties`)
  const members = membersOf([...listed, ...unlisted], node, open, path, context)
  const others = othersRule([...listed, ...unlisted], patterns, open, names, path, context)
  if (members.length === 0 && others !== '') {
    if (minProperties > 1) context.ignore([...path, 'minProperties'])
    // A name that is repeated counts once, so a minimum of one is what can be held to.
    const more = repeated(`("," ws ${others})`, 0, maxProperties - 1)
    const inside = maxProperties === 0 ? '' : minProperties > 0 ? `${others} ${more}` : `(${others} ${more})?`
    return `"{" ws ${inside} "}" ws`
  }
  const least = members.filter(({ needed }) => needed).length
  if (minProperties > least && (members.length > 0 || minProperties > 1)) context.ignore([...path, 'minProperties'])
  if (maxProperties < (others === '' ? members.length : Infinity)) context.ignore([...path, 'maxProperties'])
  return `"{" ws ${sequence(members, others, context)} "}" ws`
}

/** @returns a rule of the names, or a list of them; undefined if any are allowed */
function namesRule(
  propertyNames: unknown,
  hasMembers: boolean,
  path: Path,
  context: SchemaContext,
): string | string[] | undefined {
  if (propertyNames === undefined) return undefined
  const at = [...path, 'propertyNames']
  const node = flatAt(propertyNames, at, context)
  if (node === undefined) return []
  const { type: _, ...constraints } = node
  if (Object.keys(constraints).length === 0) return undefined
  if (node.enum !== undefined) return node.enum.filter((name) => typeof name === 'string')
  if (Object.keys(constraints).every((key) => implied[key] === 'string') && !hasMembers)
    return stringRule(node, at, context)
  context.ignore(at)
  return undefined
}

function membersOf(
  names: readonly string[],
  { properties = {}, required = [] }: Node,
  open: unknown,
  path: Path,
  context: SchemaContext,
): Member[] {
  const needed = new Set(required)
  if (!names.every(isShort)) throw refused(path, `has a property name of more than ${mostName} characters`)
  return names.flatMap((name) => {
    const isListed = Object.hasOwn(properties, name)
    const at = isListed ? [...path, 'properties', name] : [...path, 'additionalProperties']
    const value = context.named(isListed ? properties[name] : open === false ? true : open, at)
    if (value === undefined && needed.has(name)) throw refused(at, 'is required and allows nothing')
    return value === undefined
      ? []
      : [{ rule: `${literal(JSON.stringify(name))} ws ":" ws ${value}`, needed: needed.has(name) }]
  })
}

/** A member that is not listed. @returns an empty text if there is none */
function othersRule(
  listed: readonly string[],
  patterns: readonly [string, unknown][],
  open: unknown,
  names: string | undefined,
  path: Path,
  context: SchemaContext,
): string {
  const isMixed =
    listed.length > 0 || patterns.some(([, value]) => !sameJson(value, patterns[0]?.[1])) || names !== undefined
  if (patterns.length > 0 && isMixed) context.ignore([...path, 'patternProperties'])
  const ways = patterns.flatMap(([pattern, schema]) => {
    const at = [...path, 'patternProperties', pattern]
    const name = stringRule({ pattern }, at, context)
    const value = context.named(schema, at)
    return value === undefined ? [] : [`${name} ws ":" ws ${value}`]
  })
  if (patterns.length > 0) return ways.length === 0 ? '' : alternatives(ways)
  const value = open === false ? undefined : context.named(open, [...path, 'additionalProperties'])
  return value === undefined ? '' : `${names ?? stringExceptRule(listed, context)} ws ":" ws ${value}`
}

/** Members in order, each optional one present or not, with a comma before each but the first. */
function sequence(members: readonly Member[], others: string, context: SchemaContext): string {
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
    const [member, tail, rest] = [context.add(rule), context.add(after), context.add(start)]
    start = `(${member} ${tail} | ${rest})`
    after = `("," ws ${member})? ${tail}`
  }
  return start
}
