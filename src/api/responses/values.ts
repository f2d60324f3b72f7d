type Named = readonly [name: string | number, inner: unknown]

/**
 * A JSON value and all within it. A client decides how deep and how many they are, so this does not call itself, and whoever
 * has seen enough may stop.
 */
export function* valuesIn(value: unknown): Iterable<Named> {
  const open: Iterator<Named>[] = [[['', value] as const].values()]
  for (let last = open.at(-1); last !== undefined; last = open.at(-1)) {
    const next = last.next()
    if (next.done) {
      open.pop()
      continue
    }
    yield next.value
    const [, inner] = next.value
    if (Array.isArray(inner)) open.push(inner.entries())
    else if (typeof inner === 'object' && inner !== null) open.push(Object.entries(inner).values())
  }
}
