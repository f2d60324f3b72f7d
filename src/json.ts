/** @returns undefined for a text that is not JSON */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** JSON without the two characters at which some readers, as `readline` of Node 24, also end a line. */
export const jsonLine = (value: unknown): string =>
  JSON.stringify(value).replace(/[\u2028\u2029]/g, (one) => (one === '\u2028' ? '\\u2028' : '\\u2029'))

/** Bounds of a client's JSON that is walked through by recursion, or while everybody waits. */
export const mostJson = { depth: 128, containers: 20_000 } as const

/** Whether a JSON value is nested too deep, or has too many arrays and objects, to be walked through. */
export function isBeyondWalking(value: unknown): boolean {
  let level: object[] = isContainer(value) ? [value] : []
  let seen = 0
  for (let depth = 0; level.length > 0; depth++) {
    seen += level.length
    if (depth === mostJson.depth || seen > mostJson.containers) return true
    const next: object[] = []
    for (const one of level)
      for (const inside of Object.values(one)) {
        if (isContainer(inside)) next.push(inside)
        if (next.length > mostJson.containers) return true
      }
    level = next
  }
  return false
}

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null
