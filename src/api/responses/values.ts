/** A JSON value and all within it. A client decides how deep they are, so this does not call itself. */
export function* valuesIn(value: unknown): Iterable<{ name: string; inner: unknown }> {
  const left = [{ name: '', inner: value }]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    yield next
    const { inner } = next
    if (Array.isArray(inner)) for (const item of inner) left.push({ name: '', inner: item })
    else if (typeof inner === 'object' && inner !== null)
      for (const [name, item] of Object.entries(inner)) left.push({ name, inner: item })
  }
}
