/** Elements of a list that are written at once. With twenty log probabilities each they take a millisecond. */
const atOnce = 64
/** Characters of a text that are written at once. */
const charactersAtOnce = 256_000

/**
 * JSON in pieces: a value of many megabytes is written between the turns of others. A value without long lists and texts is one piece.
 * @param value plain data, as `JSON.stringify` takes it
 */
export function* jsonPieces(value: object): Generator<string, void, void> {
  let text = ''
  for (const part of partsOf(value)) {
    if (part === '' && text !== '') {
      yield text
      text = ''
    } else text += part
  }
  if (text !== '') yield text
}

/** Text of the JSON, with an empty one wherever it may be divided. */
function* partsOf(value: unknown): Generator<string, void, void> {
  if (Array.isArray(value)) yield* listOf(value)
  else if (typeof value === 'object' && value !== null && !('toJSON' in value)) yield* objectOf(value)
  else if (typeof value === 'string' && value.length > charactersAtOnce) yield* textOf(value)
  else yield JSON.stringify(value) ?? 'null'
}

function* textOf(text: string): Generator<string, void, void> {
  yield '"'
  for (let at = 0; at < text.length; ) {
    // Two halves of one character stay together.
    const isHalf = /[\ud800-\udbff]/.test(text[at + charactersAtOnce - 1] ?? '')
    const end = at + charactersAtOnce - (isHalf ? 1 : 0)
    yield JSON.stringify(text.slice(at, end)).slice(1, -1)
    yield ''
    at = end
  }
  yield '"'
}

function* listOf(list: readonly unknown[]): Generator<string, void, void> {
  yield '['
  if (list.length <= atOnce)
    for (const [index, one] of list.entries()) {
      if (index > 0) yield ','
      yield* partsOf(one)
    }
  else
    for (let at = 0; at < list.length; at += atOnce) {
      yield (at > 0 ? ',' : '') + JSON.stringify(list.slice(at, at + atOnce)).slice(1, -1)
      yield ''
    }
  yield ']'
}

function* objectOf(value: object): Generator<string, void, void> {
  let before = '{'
  for (const [name, one] of Object.entries(value)) {
    if (one === undefined || typeof one === 'function') continue
    yield `${before}${JSON.stringify(name)}:`
    yield* partsOf(one)
    before = ','
  }
  yield before === '{' ? '{}' : '}'
}
