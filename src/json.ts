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
export const mostJson = {
  depth: 128,
  containers: 20_000,
  /** Of all containers. */
  members: 100_000,
  /** Of JSON within a text, which is parsed in one piece. */
  characters: 1_000_000,
} as const

/** What a walk through JSON values has found, in all of them together. */
export class JsonWalk {
  containers = 0
  members = 0
  /** Of texts that are values. */
  characters = 0
  readonly #most: number

  /** @param members that all containers may have together */
  constructor(members: number = mostJson.members) {
    this.#most = members
  }

  /** Walks through one more value. @returns whether it is nested too deep, or there is too much by now; the rest is not counted */
  isBeyond(value: unknown): boolean {
    let level: object[] = isContainer(value) ? [value] : []
    for (let depth = 0; level.length > 0; depth++) {
      this.containers += level.length
      if (depth === mostJson.depth || this.containers > mostJson.containers) return true
      const next: object[] = []
      for (const one of level) {
        const inside: readonly unknown[] = Array.isArray(one) ? one : Object.values(one)
        this.members += inside.length
        if (this.members > this.#most) return true
        for (const member of inside)
          if (typeof member === 'string') this.characters += member.length
          else if (isContainer(member)) next.push(member)
      }
      level = next
    }
    return false
  }
}

/** Whether a JSON value is nested too deep, or has too much in it, to be walked through. */
export const isBeyondWalking = (value: unknown): boolean => new JsonWalk().isBeyond(value)

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null
