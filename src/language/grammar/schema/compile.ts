import { alternatives } from '../rules.ts'
import { arrayRule } from './arrays.ts'
import { type Budget, pointed, SchemaContext } from './context.ts'
import { flat } from './merge.ts'
import { every, implied, type Node, type Path, refused, type TypeName } from './node.ts'
import { objectRule } from './objects.ts'
import { excluded, optionsRule } from './options.ts'
import { numberRule, stringExceptRule, stringRule } from './scalars.ts'
import { enumRule } from './values.ts'

export interface CompiledSchema {
  /** Its rules as GBNF, which name those of `json-schema.ts`. */
  readonly text: string
  /** Places of keywords that cannot be held to. */
  readonly ignored: readonly Path[]
}

/**
 * A JSON Schema as a rule and those that it calls.
 * @param at the part of the schema that the rule is of
 * @param budget from which what it takes is taken
 * @throws OrielError `invalid`, code `invalid_json_schema`
 */
export function compileSchema(
  root: unknown,
  { name, at, strict }: { name: string; at: readonly string[]; strict: boolean },
  budget: Budget,
): CompiledSchema {
  const context = new SchemaContext(root, name, strict, budget, compile)
  const base = name === 'root' ? [] : [name]
  const part = at.length === 0 ? root : context.target(['#', ...at.map(pointed)].join('/'), base)
  const body = context.rule(part, [...base, ...at])
  if (body === undefined) throw refused(base, 'allows nothing')
  context.set(name, body)
  return { text: [...context.rules].map(([rule, body]) => `${rule} ::= ${body}`).join('\n'), ignored: context.ignored }
}

/** Keywords that no grammar of a reasonable size can hold to. */
const beyond = ['$dynamicRef', 'if', 'dependentRequired', 'dependentSchemas', 'dependencies', 'contains'] as const

function compile(schema: unknown, path: Path, context: SchemaContext): string | undefined {
  const node = context.node(schema, path)
  if (typeof node === 'boolean') return node ? 'value' : undefined
  const { $ref, ...beside } = node
  if ($ref !== undefined && Object.keys(beside).length === 0)
    return context.once($ref, path, () => context.rule(context.target($ref, path), [...path, '$ref']))
  const write = () => flatRule(flat(node, path, context), path, context)
  const isShared =
    $ref !== undefined || node.allOf?.some((part) => typeof part === 'object' && part !== null && '$ref' in part)
  if (!isShared) return write()
  context.spendOn(node)
  return context.once(JSON.stringify(node), path, write)
}

/** The rule of a schema whose references and `allOf` are merged into it. */
function flatRule(node: Node | undefined, path: Path, context: SchemaContext): string | undefined {
  if (node === undefined) return undefined
  for (const keyword of beyond) if (node[keyword] !== undefined) context.ignore([...path, keyword])
  const except = excluded(node, path, context)
  if (except === 'all') return undefined
  // Parts of the schema have types that exclude each other.
  if (node.type?.length === 0) return undefined
  if (node.enum !== undefined) return enumRule(node, context)
  if (node.anyOf !== undefined || node.oneOf !== undefined) return optionsRule(node, path, context)
  const keywords = Object.keys(node).flatMap((key) => implied[key] ?? [])
  const types = node.type ?? (keywords.length > 0 ? [...new Set(keywords)] : except.types.length > 0 ? every : [])
  if (types.length === 0) return 'value'
  const left = types.filter(
    (type) => !except.types.includes(type) && !(type === 'integer' && except.types.includes('number')),
  )
  const bodies = left.map((type) =>
    type === 'string' && except.words.length > 0
      ? `${stringExceptRule(except.words, context)} ws`
      : typeRule(type, node, path, context),
  )
  return bodies.length === 0 ? undefined : alternatives(bodies)
}

function typeRule(type: TypeName, node: Node, path: Path, context: SchemaContext): string {
  switch (type) {
    case 'null':
      return '"null" ws'
    case 'boolean':
      return '("true" | "false") ws'
    case 'string':
      return `${stringRule(node, path, context)} ws`
    case 'array':
      return context.within(() => arrayRule(node, path, context))
    case 'object':
      return context.within(() => objectRule(node, path, context))
    default:
      return numberRule(type, node, path, context)
  }
}
