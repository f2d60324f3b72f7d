/** Boxes and points in the text of an answer, in the forms that models were trained to write. */

/** A box or a point, as the answer says it. */
export interface Region {
  /** null: the answer does not name it. */
  readonly label: string | null
  /** x and y of a point, or left, top, right and bottom of a box. */
  readonly at: readonly number[]
  /** What the form counts as the whole width and height of the image. null: the form does not say. */
  readonly whole: number | null
}

/** @returns the regions of the first form that the text has. Time is linear in the text's length */
export function regionsIn(text: string): Region[] {
  for (const form of forms) {
    const found = form(text).filter(({ at }) => at.every(Number.isFinite))
    if (found.length > 0) return found
  }
  return []
}

/** Control tokens of these forms, which an answer contains only on request. */
export const isRegionToken = (token: string): boolean =>
  /^<\|?\/?(?:ref|object_ref_start|object_ref_end|box|box_start|box_end|det|begin_of_box|end_of_box|points?|loc_?\d+|LOC_\w+|TEXT_START|TEXT_END)\|?>$/.test(
    token,
  )

/** Every repetition in these is bounded, or ends at the character that the next match begins with. */
const reference = /(?:<\|?(?:object_ref_start|ref)\|?>([^<]*)<\|?\/?(?:object_ref_end|ref)\|?>\s*)?/.source
const tagged = /<\|?(box_start|box|det|begin_of_box)\|?>([\s\d.,()[\]-]*)<\|?\/?(?:box_end|box|det|end_of_box)\|?>/
  .source
const inTag = new RegExp(reference + tagged, 'g')

/** `<ref>cat</ref><box>[[1, 2, 3, 4]]</box>` of InternVL, and the same of Qwen2-VL, MiniCPM-V, GLM and DeepSeek. */
function inTags(text: string): Region[] {
  return [...text.matchAll(inTag)].flatMap(([, label, tag, inside = '']) => {
    // GLM has the result of a sum in this tag too.
    if (tag === 'begin_of_box' && !inside.includes('[')) return []
    const numbers = numbersIn(inside)
    const whole = tag === 'det' ? 999 : null
    return inGroups(numbers, numbers.length === 2 ? 2 : 4).map((at) => ({ label: named(label), at, whole }))
  })
}

/** Molmo's `<point x="61.5" y="40.4" alt="cat">` and `<points x1=…>`, in percent, and UI-TARS' `<point>510 150</point>`. */
const inPoints = (text: string): Region[] =>
  [...text.matchAll(/<points?\b([^<>]*)>([^<>]*)/g)].flatMap(([, attributes = '', inside = '']) => {
    const pairs = [...attributes.matchAll(/\b[xy]\d{0,4}="\s?([\d.]{1,12})\s?"/g)].map(([, value]) => Number(value))
    if (pairs.length === 0)
      return inGroups(numbersIn(inside), 2).map((at): Region => ({ label: null, at, whole: null }))
    const label = named(/\balt="([^"]*)"/.exec(attributes)?.[1] ?? inside)
    return inGroups(pairs, 2).map((at) => ({ label, at, whole: 100 }))
  })

/** PaliGemma's `<loc0100><loc0200><loc0300><loc0400> cat`: top, left, bottom, right. */
const inLocations = (text: string): Region[] =>
  [...text.matchAll(/<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>([^<;\n]*)/g)].map(
    ([, top, left, bottom, right, label]) => ({
      label: named(label),
      at: [left, top, right, bottom].map(Number),
      whole: 1024,
    }),
  )

/** `<text><loc_10><loc_20><loc_30><loc_40>` of DocTags, which Granite-Docling writes. */
const inDocTags = (text: string): Region[] =>
  [...text.matchAll(/(?:<(\w{1,40})>)?<loc_(\d{1,3})><loc_(\d{1,3})><loc_(\d{1,3})><loc_(\d{1,3})>/g)].map(
    ([, label, ...at]) => ({ label: named(label), at: at.map(Number), whole: 500 }),
  )

/** PaddleOCR-VL's four corners behind a text: the box around them. */
const inQuads = (text: string): Region[] =>
  withTextBefore(text, /(?:<\|LOC_\d{1,4}\|>){8}/g).map(({ label, found }) => {
    const numbers = numbersIn(found)
    const [xs, ys] = [0, 1].map((side) => numbers.filter((_, index) => index % 2 === side))
    const least = [xs, ys].map((all = []) => Math.min(...all))
    const most = [xs, ys].map((all = []) => Math.max(...all))
    return { label, at: [...least, ...most], whole: 1000 }
  })

/** `cat(1,2),(3,4)` of HunyuanOCR, and of Qwen2-VL where its control tokens are left out. */
const inCorners = (text: string): Region[] =>
  withTextBefore(text, /\(\s?\d{1,5}\s?,\s?\d{1,5}\s?\)\s?,\s?\(\s?\d{1,5}\s?,\s?\d{1,5}\s?\)/g).map(
    ({ label, found }) => ({ label, at: numbersIn(found), whole: null }),
  )

/** Matches, labelled with the text on the same line that no match before has. */
function withTextBefore(text: string, form: RegExp): { label: string | null; found: string }[] {
  let end = 0
  return [...text.matchAll(form)].map(({ 0: found, index }) => {
    const before = text.slice(end, index).replace(/<[^<>]*>/g, '')
    end = index + found.length
    return { label: named(before.slice(before.lastIndexOf('\n') + 1).replace(/^[\s,;]+/, '')), found }
  })
}

/** A list or an object of JSON that is being read. */
interface Container {
  readonly isList: boolean
  /** The field that it is the value of, in the object around it. */
  readonly name: string | undefined
  /** Of a list. undefined: none yet. */
  items: unknown[] | undefined
  /** Of an object. undefined: none yet. */
  fields: Map<string, unknown> | undefined
  /** The field of an object whose value comes next. */
  key: string | undefined
}

/** Deeper JSON is not read. */
const deepest = 100

const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const word = /true|false|null/y
const bracket = /[[{]/g

/**
 * Objects and lists of JSON anywhere in the text, such as between fences. What is not JSON is passed over, and of an
 * answer that was cut off, what is complete is read: a reader of whole texts would refuse it all.
 */
function inJson(text: string): Region[] {
  const found: Region[] = []
  const open: Container[] = []
  for (let at = 0; at !== -1 && at < text.length; ) {
    if (open.length === 0) at = endOf(bracket, text, at) - 1
    const character = text[at]
    if (at < 0) break
    if (character === '[' || character === '{') {
      if (open.length === deepest) open.length = 0
      const isList = character === '['
      open.push({ isList, name: open.at(-1)?.key, items: undefined, fields: undefined, key: undefined })
      at++
    } else if (character === ']' || character === '}') {
      const closed = open.pop()
      if (closed?.isList === (character === ']')) close(closed, open, found)
      else open.length = 0
      at++
    } else if (character === '"') {
      const end = endOfString(text, at + 1)
      if (end !== -1) putString(open.at(-1), unescaped(text.slice(at + 1, end)))
      at = end === -1 ? -1 : end + 1
    } else if (isBetween(character)) at++
    else {
      const numberEnd = endOf(number, text, at)
      const end = numberEnd || endOf(word, text, at)
      if (end > 0) put(open.at(-1), numberEnd > 0 ? Number(text.slice(at, end)) : undefined)
      else open.length = 0
      at = end > 0 ? end : at
    }
  }
  return found
}

const isBetween = (character: string | undefined): boolean =>
  character === ' ' ||
  character === ',' ||
  character === ':' ||
  character === '\n' ||
  character === '\t' ||
  character === '\r'

/** The index behind the next match; 0: there is none. */
function endOf(expression: RegExp, text: string, from: number): number {
  expression.lastIndex = from
  return expression.test(text) ? expression.lastIndex : 0
}

function close(closed: Container, around: readonly Container[], found: Region[]): void {
  const { isList, items = [] } = closed
  if (!isList) for (const region of inFields(closed)) found.push(region)
  else if (isNumbers(items, 4) && around.every(({ isList }) => isList)) found.push(regionOf(null, items))
  put(around.at(-1), isList ? items : undefined)
}

function put(container: Container | undefined, value: unknown): void {
  if (container?.isList) {
    container.items ??= []
    container.items.push(value)
  } else if (container?.key !== undefined) {
    container.fields ??= new Map()
    container.fields.set(container.key, value)
    container.key = undefined
  }
}

function putString(container: Container | undefined, text: string): void {
  if (container?.isList === false && container.key === undefined) container.key = text
  else put(container, text)
}

/** The index of the quote that ends a string. @param from behind the one that begins it @returns -1: nothing ends it */
function endOfString(text: string, from: number): number {
  const special = /["\\]/g
  special.lastIndex = from
  for (let next = special.exec(text); next !== null; next = special.exec(text)) {
    if (next[0] === '"') return next.index
    special.lastIndex = next.index + 2
  }
  return -1
}

function unescaped(text: string): string {
  if (!text.includes('\\')) return text
  try {
    return String(JSON.parse(`"${text}"`))
  } catch {
    return text
  }
}

/** What the fields of an object have: boxes, boxes that begin with the top, as Gemma and Gemini write them, or points. */
const meanings = new Map<string, 'box' | 'turned' | 'point'>([
  ...['bbox_2d', 'bbox', 'box', 'bounding_box', 'boundingBox'].map((name) => [name, 'box'] as const),
  ['box_2d', 'turned'],
  ...['point_2d', 'point', 'coordinate', 'coordinates', 'position'].map((name) => [name, 'point'] as const),
])
const labelNames = ['label', 'name', 'category', 'class', 'text_content', 'text', 'caption', 'description', 'type']

function inFields({ fields, name }: Container): Region[] {
  if (fields === undefined) return []
  const label = named(labelIn(fields) ?? name)
  const found: Region[] = []
  for (const [key, value] of fields) {
    const meaning = meanings.get(key)
    if (meaning === undefined) continue
    for (const at of listsIn(value, meaning === 'point' ? 2 : 4))
      found.push(meaning === 'turned' ? turnedBox(label, at) : regionOf(label, at))
  }
  const corners = cornersIn(fields)
  return found.length === 0 && corners !== undefined ? [regionOf(label, corners)] : found
}

const labelIn = (fields: ReadonlyMap<string, unknown>): string | undefined =>
  labelNames.map((name) => fields.get(name)).find((value) => typeof value === 'string')

const turnedBox = (label: string | null, [top = 0, left = 0, bottom = 0, right = 0]: readonly number[]): Region => ({
  ...{ label, at: [left, top, right, bottom], whole: 1000 },
})

/** Of `{"x1": 1, "y1": 2, …}`, and what people ask for by a schema of their own. */
function cornersIn(fields: ReadonlyMap<string, unknown>): number[] | undefined {
  const valuesOf = (...names: string[]) => names.map((name) => fields.get(name))
  if (fields.has('x1')) return numbersOr(valuesOf('x1', 'y1', 'x2', 'y2'))
  if (fields.has('xmin')) return numbersOr(valuesOf('xmin', 'ymin', 'xmax', 'ymax'))
  const [place, size] = [numbersOr(valuesOf('x', 'y')), numbersOr(valuesOf('width', 'height'))]
  return place && [...place, ...(size ?? []).map((length, side) => length + (place[side] ?? 0))]
}

const numbersOr = (values: readonly unknown[]): number[] | undefined =>
  isNumbers(values, values.length) ? values : undefined

/** A value as numbers, or as several lists of them. */
function listsIn(value: unknown, length: number): number[][] {
  if (isNumbers(value, length)) return [value]
  return Array.isArray(value) ? value.filter((item) => isNumbers(item, length)) : []
}

const regionOf = (label: string | null, at: readonly number[]): Region => ({ label, at, whole: null })

const isNumbers = (value: unknown, length: number): value is number[] =>
  Array.isArray(value) && value.length === length && value.every((item) => typeof item === 'number')

const numbersIn = (text: string): number[] => (text.match(/-?\d+(?:\.\d+)?/g) ?? []).map(Number)

const named = (label: string | undefined): string | null => label?.trim() || null

const inGroups = (numbers: readonly number[], length: number): number[][] =>
  Array.from({ length: Math.floor(numbers.length / length) }, (_, index) =>
    numbers.slice(index * length, (index + 1) * length),
  )

/** Those with marks of their own first: their numbers may stand in brackets too. */
const forms = [inTags, inPoints, inLocations, inDocTags, inQuads, inJson, inCorners]
