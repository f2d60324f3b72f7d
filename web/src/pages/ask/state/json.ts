/**
 * JSON with an indent, whose short parts stay on one line. Its values stay as they were written: a number may have more digits
 * than this browser counts with. What is not JSON yet stays as it is.
 */
export function tidyJson(json: string): string {
  try {
    JSON.parse(json)
    return tidied(json)
  } catch {
    return json
  }
}

/** What is between brackets, in them: on one line if it is short. */
export function bracketed(brackets: string, items: readonly string[], indent: number, depth: number): string {
  const [start, end] = brackets
  const line = items.join(', ')
  if (line.length < 72 && !line.includes('\n')) return `${start}${line}${end}`
  const space = (by: number): string => ' '.repeat(indent * by)
  return `${start}\n${items.map((item) => space(depth + 1) + item).join(',\n')}\n${space(depth)}${end}`
}

/** A text, a bracket, a comma, a colon, or a number or word. */
const token = /"(?:\\.|[^"\\])*"|[[\]{},:]|[^\s"[\]{},:]+/g

/** @param json that is valid */
function tidied(json: string): string {
  const tokens = json.match(token) ?? []
  let at = 0
  const next = (): string => tokens[at++] ?? ''
  const value = (depth: number): string => {
    const start = next()
    if (start !== '[' && start !== '{') return start
    const brackets = start === '[' ? '[]' : '{}'
    const items: string[] = []
    while (tokens[at] !== brackets[1]) {
      if (tokens[at] === ',') at++
      // The name of a member, and its colon.
      const name = start === '{' ? `${next()}${next()} ` : ''
      items.push(name + value(depth + 1))
    }
    at++
    return bracketed(brackets, items, 2, depth)
  }
  return value(0)
}
