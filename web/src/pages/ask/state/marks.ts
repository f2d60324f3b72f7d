/** Boxes and points that a model answers with, in the forms that families were trained to write. */

/** What the numbers of a mark are parts of. `seen`: pixels of the picture that the model saw; `sent`: of that which was sent. */
export const scales = ['thousand', 'seen', 'sent', 'percent', 'unit'] as const
export type Scale = (typeof scales)[number]

export interface Mark {
  readonly label: string
  /** x and y of a point, or of two corners, as written. */
  readonly at: readonly number[]
  /** undefined: the form does not say. */
  readonly scale: Scale | undefined
}

export function marksIn(text: string): readonly Mark[] {
  const written = [...inTags(text), ...inPointTags(text), ...inLocations(text)]
  const marks = written.length > 0 ? written : jsonIn(text).flatMap((value) => inJson(value))
  return marks.length > 0 ? marks : inCorners(text)
}

/** What models that do not say mean, as a rule: Qwen 2.5 VL counts pixels, others thousandths. */
export function guessScale(marks: readonly Mark[], model: string): Scale {
  const said = marks.find(({ scale }) => scale !== undefined)?.scale
  if (said !== undefined) return said
  const numbers = marks.flatMap(({ at }) => at)
  if (numbers.every((value) => value <= 1)) return 'unit'
  return /qwen-?2[.-]?5|ui-?tars/i.test(model) || numbers.some((value) => value > 1000) ? 'seen' : 'thousand'
}

interface Size {
  readonly width: number
  readonly height: number
}

/** A mark in parts of the picture: x, y, and for a box width and height. */
export function placeOf({ at }: Mark, scale: Scale, { seen, sent }: { seen: Size; sent: Size }) {
  const whole: Record<Scale, Size> = {
    ...{ thousand: square(1000), percent: square(100), unit: square(1) },
    ...{ seen, sent },
  }
  const { width, height } = whole[scale]
  const [x1 = 0, y1 = 0, x2, y2] = at.map((value, index) => value / (index % 2 === 0 ? width : height))
  if (x2 === undefined || y2 === undefined) return { x: x1, y: y1 }
  return { x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) }
}

const square = (length: number): Size => ({ width: length, height: length })

const numbersIn = (text: string): number[] => (text.match(/-?\d+(\.\d+)?/g) ?? []).map(Number)

/** `<ref>cat</ref><box>[[1, 2, 3, 4]]</box>`, and the same with other names and control tokens. */
function inTags(text: string): Mark[] {
  const reference = /(?:<\|?(?:object_ref_start|ref)\|?>([^<]*)<\|?\/?(?:object_ref_end|ref)\|?>\s*)?/.source
  const box = /<\|?(box_start|box|det|begin_of_box)\|?>([^<]*)<\|?\/?(?:box_end|box|det|end_of_box)\|?>/.source
  return [...text.matchAll(new RegExp(reference + box, 'g'))].flatMap(([, label = '', , inside = '']) => {
    const numbers = numbersIn(inside)
    const length = numbers.length === 2 ? 2 : 4
    return inGroups(numbers, length).map((at): Mark => ({ label: label.trim(), at, scale: undefined }))
  })
}

/** Molmo's `<point x="61.5" y="40.4" alt="cat">` and `<points x1=…>`, in percent, and UI-TARS' `<point>510 150</point>`. */
function inPointTags(text: string): Mark[] {
  return [...text.matchAll(/<points?\b([^>]*)>([^<]*)(?:<\/points?>)?/g)].flatMap(
    ([, attributes = '', inside = '']) => {
      const pairs = [...attributes.matchAll(/\b[xy]\d*\s*=\s*"\s*([\d.]+)\s*"/g)].map(([, value]) => Number(value))
      const label = /\balt\s*=\s*"([^"]*)"/.exec(attributes)?.[1] ?? inside.trim()
      if (pairs.length > 0) return inGroups(pairs, 2).map((at): Mark => ({ label, at, scale: 'percent' }))
      return inGroups(numbersIn(inside), 2).map((at): Mark => ({ label: '', at, scale: undefined }))
    },
  )
}

/** PaliGemma's `<loc0100><loc0200><loc0300><loc0400> cat`: top, left, bottom, right on a grid of 1024. */
const inLocations = (text: string): Mark[] =>
  [...text.matchAll(/<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>([^<;]*)/g)].map(
    ([, top, left, bottom, right, label = '']) => ({
      label: label.trim(),
      at: [left, top, right, bottom].map((value) => Number(value) / 1024),
      scale: 'unit' as const,
    }),
  )

/** Qwen's `(1,2),(3,4)`, of which the control tokens around it are gone. */
const inCorners = (text: string): Mark[] =>
  [...text.matchAll(/\(\s*(\d+)\s*,\s*(\d+)\s*\)\s*,\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)/g)].map(([, ...numbers]) => ({
    ...{ label: '', scale: undefined },
    at: numbers.map(Number),
  }))

const boxNames = ['bbox_2d', 'bbox', 'box', 'bounding_box', 'boundingBox']
const pointNames = ['point_2d', 'point', 'coordinate', 'coordinates', 'position']
const labelNames = ['label', 'name', 'text_content', 'text', 'caption', 'description', 'class', 'type']

function inJson(value: unknown, label = ''): Mark[] {
  if (Array.isArray(value)) return value.flatMap((item) => inJson(item, label))
  if (typeof value !== 'object' || value === null) return []
  const object = value as Record<string, unknown>
  const own = labelNames.map((name) => object[name]).find((text) => typeof text === 'string')
  const said = typeof own === 'string' ? own : label
  const found = (at: number[], scale?: Scale): Mark[] => [{ label: said, at, scale }]
  for (const name of boxNames) if (isNumbers(object[name], 4)) return found(object[name])
  // Gemini's: top, left, bottom, right.
  if (isNumbers(object.box_2d, 4)) {
    const [top = 0, left = 0, bottom = 0, right = 0] = object.box_2d
    return found([left, top, right, bottom], 'thousand')
  }
  for (const name of pointNames) if (isNumbers(object[name], 2)) return found(object[name])
  const { x, y, x1, y1, x2, y2 } = object
  if (isNumbers([x1, y1, x2, y2], 4)) return found([x1, y1, x2, y2] as number[])
  if (isNumbers([x, y], 2)) return found([x, y] as number[])
  return Object.entries(object).flatMap(([name, inner]) => inJson(inner, said === '' ? name : said))
}

const isNumbers = (value: unknown, length: number): value is number[] =>
  Array.isArray(value) && value.length === length && value.every((item) => typeof item === 'number')

/** The objects and lists of a text, such as those between fences. Of the places where one may begin, 100 are tried. */
function jsonIn(text: string): unknown[] {
  const found: unknown[] = []
  let at = text.search(/[[{]/)
  for (let tried = 0; at !== -1 && tried < 100; tried++) {
    const end = endOf(text, at)
    const value = end === undefined ? undefined : parsed(text.slice(at, end))
    if (value !== undefined) found.push(value)
    const after = value === undefined || end === undefined ? at + 1 : end
    const step = text.slice(after).search(/[[{]/)
    at = step === -1 ? -1 : after + step
  }
  return found
}

/** Behind the bracket that closes the one at `from`. undefined: there is none. */
function endOf(text: string, from: number): number | undefined {
  let depth = 0
  let isText = false
  for (let at = from; at < text.length && at < from + 20_000; at++) {
    const character = text[at] ?? ''
    if (isText) {
      if (character === '\\') at++
      else if (character === '"') isText = false
    } else if (character === '"') isText = true
    else if ('[{'.includes(character)) depth++
    else if (']}'.includes(character) && --depth === 0) return at + 1
  }
  return undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const inGroups = (numbers: readonly number[], length: number): number[][] =>
  Array.from({ length: Math.floor(numbers.length / length) }, (_, index) =>
    numbers.slice(index * length, (index + 1) * length),
  )
