import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Coordinates } from '../../coordinates.ts'
import { isRegionToken, type Region, regionsIn } from '../../prompt/index.ts'
import type { AnswerEnd, AnswerEvent, AnsweredImage, AnswerPart, AnswerPoint, Grounding } from '../backend.ts'
import { HiddenTags } from './hidden-tags.ts'

/**
 * Adds the boxes and points to the end of each choice. They depend on what the model saw, which is known when all choices
 * have ended.
 * @param coordinates how the model counts where a form does not say it
 * @param controlTokens of the model. The engine shows those of the forms, and they are taken out of the text again
 */
export async function* grounded(
  events: AsyncIterable<AnswerEvent>,
  coordinates: Coordinates,
  controlTokens: readonly string[],
): AsyncIterable<AnswerEvent> {
  const hidden = new Set(controlTokens.filter(isRegionToken))
  const texts = new Map<number, string>()
  const hiding = new Map<number, HiddenTags>()
  const ends: AnswerEnd[] = []
  for await (const event of events) {
    if (event.type === 'part') {
      // What comes before the first token repeats the prompt.
      if (event.completionTokens > 0) texts.set(event.choice, (texts.get(event.choice) ?? '') + textOf(event))
      const tags = hiding.get(event.choice) ?? new HiddenTags(hidden)
      hiding.set(event.choice, tags)
      yield hidden.size === 0 ? event : tags.push(event)
    } else if (event.type === 'end') {
      const { choice, completionTokens } = event
      const rest = hiding.get(choice)?.finish()
      if (rest !== undefined && (rest.raw !== '' || rest.pieces.length > 0))
        yield { type: 'part', choice, completionTokens, tokens: [], ...rest }
      ends.push(event)
    } else {
      for (const end of ends) {
        yield { ...end, grounding: groundingIn(texts.get(end.choice) ?? '', event.tally.images ?? [], coordinates) }
        await nextTurn()
      }
      yield event
    }
  }
}

const textOf = ({ pieces }: AnswerPart): string =>
  pieces.map((piece) => (piece.kind === 'text' ? piece.text : '')).join('')

type MarkedImage = Pick<AnsweredImage, 'width' | 'height' | 'seen'>

/** How much of an answer is read: tens of thousands of tokens, in some ms. */
const mostCharacters = 100_000

/** The forms do not say which image they mean, so it is the last of the prompt. What lies outside of it stays there. */
function groundingIn(text: string, images: readonly MarkedImage[], coordinates: Coordinates): Grounding {
  const grounding: Grounding = { boxes: [], points: [] }
  const image = images.at(-1)
  if (image === undefined) return grounding
  for (const { label, at, whole } of regionsIn(text.slice(0, mostCharacters))) {
    const [first, second] = placesOf(at, image, whole ?? (isShare(at) ? 1 : coordinates))
    const on = { image: images.length - 1, label }
    if (first === undefined || !isFinitePlace(first) || (second !== undefined && !isFinitePlace(second))) continue
    if (second === undefined) grounding.points.push({ ...on, ...first })
    else grounding.boxes.push({ ...on, ...cornersOf(first, second) })
  }
  return grounding
}

type Place = Pick<AnswerPoint, 'x' | 'y'>

/** A model may write any number. */
const isFinitePlace = ({ x, y }: Place): boolean => Number.isFinite(x) && Number.isFinite(y)

function placesOf(at: Region['at'], { seen, ...sent }: MarkedImage, whole: Coordinates): Place[] {
  const edges = whole === 'seen' ? seen : { width: whole, height: whole }
  const place = ([x = 0, y = 0]: readonly number[]): Place => ({
    x: rounded((x / edges.width) * sent.width),
    y: rounded((y / edges.height) * sent.height),
  })
  return at.length === 2 ? [place(at)] : [place(at.slice(0, 2)), place(at.slice(2))]
}

/** Models mix up the corners at times. */
const cornersOf = (a: Place, b: Place) => ({
  x1: Math.min(a.x, b.x),
  y1: Math.min(a.y, b.y),
  x2: Math.max(a.x, b.x),
  y2: Math.max(a.y, b.y),
})

/**
 * Whether numbers are shares of the image, as Kimi-VL and LFM2-VL write them: a box of a thousandth is none, and a point
 * has a fraction.
 */
const isShare = (at: Region['at']): boolean =>
  at.every((value) => value >= 0 && value <= 1) && (at.length > 2 || at.some((value) => !Number.isInteger(value)))

const rounded = (pixels: number): number => Math.round(pixels * 10) / 10
