import { randomUUID } from 'node:crypto'

/** A string of a JSON body whose characters are in memory as ASCII, none of which JSON escapes. */
export class Characters {
  readonly pieces: readonly (string | Buffer)[]

  constructor(...pieces: readonly (string | Buffer)[]) {
    this.pieces = pieces
  }
}

/** A JSON body. Its `Characters` are copied, since to make strings of megabytes and escape them takes longer than a turn may. */
export function jsonBody(value: unknown): Buffer {
  const found: Characters[] = []
  // No client can guess it.
  const mark = randomUUID()
  const json = JSON.stringify(value, (_, member: unknown) => {
    if (!(member instanceof Characters)) return member
    return `${mark}:${found.push(member) - 1}`
  })
  const pieces = json.split(new RegExp(`${mark}:(\\d+)`)).map((text, index) => {
    return index % 2 === 0 ? [text] : (found[Number(text)]?.pieces ?? [])
  })
  return Buffer.concat(pieces.flat().map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)))
}
