import { literal, repeated } from '../rules.ts'
import type { SchemaContext } from './context.ts'
import { flatAt } from './merge.ts'
import { type Node, type Path, refused } from './node.ts'
import { valuesOf } from './values.ts'

/** Pairs of an index and a number of items, for unique items of an enum. */
const mostUnique = 1000

export function arrayRule(
  { items, prefixItems = [], minItems = 0, maxItems = Infinity, uniqueItems }: Node,
  path: Path,
  context: SchemaContext,
): string {
  if (maxItems < minItems) throw refused(path, 'has maxItems below minItems')
  if (uniqueItems && maxItems > 1) {
    const unique = prefixItems.length > 0 ? undefined : uniqueRule(items, minItems, maxItems, path, context)
    if (unique !== undefined) return unique
    context.ignore([...path, 'uniqueItems'])
  }
  if (items === undefined && prefixItems.length === 0 && minItems === 0 && maxItems === Infinity) return 'array'
  const first: string[] = []
  for (const [i, item] of prefixItems.entries()) {
    const rule = context.named(item, [...path, 'prefixItems', i])
    if (rule === undefined) break
    first.push(rule)
  }
  const ends = first.length < prefixItems.length
  const rest = ends ? undefined : items === undefined ? 'value' : context.named(items, [...path, 'items'])
  const up = rest === undefined ? Math.min(maxItems, first.length) : maxItems
  if (up < minItems) throw refused(path, `needs ${minItems} items, and allows ${up}`)
  if (first.length === 0) {
    if (rest === undefined || up === 0) return '"[" ws "]" ws'
    const some = `${rest} ${repeated(`("," ws ${rest})`, Math.max(0, minItems - 1), up - 1)}`
    return `"[" ws ${minItems > 0 ? some : `(${some})?`} "]" ws`
  }
  // From the last item to the first: what may follow it.
  let tail =
    rest === undefined || up <= first.length
      ? ''
      : repeated(`("," ws ${rest})`, Math.max(0, minItems - first.length), up - first.length)
  for (let i = Math.min(first.length, up) - 1; i >= 0; i--) {
    const item = `${i === 0 ? '' : '"," ws '}${first[i]} ${tail}`
    tail = i < minItems ? item : `(${item})?`
  }
  return `"[" ws ${tail} "]" ws`
}

/** Different values of an enum, in the order of the enum. @returns undefined if the items are of no enum */
function uniqueRule(
  items: unknown,
  minItems: number,
  maxItems: number,
  path: Path,
  context: SchemaContext,
): string | undefined {
  const node = flatAt(items ?? true, path, context)
  const texts = [...new Set(node === undefined ? [] : valuesOf(node, context))]
  const up = Math.min(maxItems, texts.length)
  if (texts.length === 0 || minItems > texts.length || texts.length * (up + 1) > mostUnique) return undefined
  const name = `${context.name}-unique-${context.rules.size}`
  let next: string[] = Array.from({ length: up + 1 }, (_, taken) => (taken < minItems ? '' : '""'))
  for (const [index, text] of [...texts.entries()].reverse())
    next = next.map((after, taken) => {
      const more = next[taken + 1]
      const ways = [
        ...(after === '' ? [] : [after]),
        ...(more === undefined || more === '' ? [] : [`${taken === 0 ? '' : '"," ws '}${literal(text)} ws ${more}`]),
      ]
      if (ways.length === 0) return ''
      const rule = `${name}-${index}-${taken}`
      context.set(rule, ways.join(' | '))
      return rule
    })
  return `"[" ws ${next[0]} "]" ws`
}
