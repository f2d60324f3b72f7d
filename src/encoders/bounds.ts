import { OrielError } from '../errors.ts'
import {
  type Detail,
  type ImageBounds,
  type ImagePipeline,
  type ImagePlan,
  isBound,
  seenSize,
  tilesOf,
  tokensOf,
} from './image-architecture.ts'
import type { Size } from './preprocess/resize.ts'

/** Halvings of the range of sizes that are tried. */
const halvings = 12

/**
 * The plan that sees most of an image within the bounds. With bounds `auto` is `high`: they say what it may cost. Families
 * that cut tiles read the image as if it had been sent smaller, or else with less `detail`.
 * @throws OrielError `invalid`, `param` `prompt`, if every plan has more tokens than `mostTokens`
 */
export function planWithin(images: ImagePipeline, original: Size, detail: Detail, bounds?: ImageBounds): ImagePlan {
  if (bounds === undefined || !isBound(bounds)) return images.plan(original, detail, bounds)
  const most = detail === 'auto' ? 'high' : detail
  const { mostPixels = Number.POSITIVE_INFINITY, mostTokens = Number.POSITIVE_INFINITY } = bounds
  const isCheap = (plan: ImagePlan): boolean => tokensOf(plan) <= mostTokens
  const fits = (plan: ImagePlan): boolean => isCheap(plan) && pixelsOf(plan) <= mostPixels
  const whole = images.plan(original, most, bounds)
  if (fits(whole)) return whole
  // A family holds its embeddings to the bound, and the marks come in addition.
  const inner = { ...bounds, mostTokens: Math.max(1, mostTokens - marksOf(whole)) }
  const fewer = images.plan(original, most, inner)
  if (fits(fewer)) return fewer
  const plans = [
    ...largest(images, original, most, inner, fits),
    ...(['auto', 'low'] as const).map((less) => images.plan(original, less, inner)),
    images.plan(original, 'low', { ...bounds, mostTokens: 1 }),
  ]
  const fitting = plans.find(fits) ?? plans.filter(isCheap).sort((a, b) => pixelsOf(a) - pixelsOf(b))[0]
  if (fitting !== undefined) return fitting
  const least = Math.min(...plans.map(tokensOf))
  throw new OrielError(
    'invalid',
    `This model reads an image of ${original.width} x ${original.height} pixels as ${least} tokens at least; its max_tokens allows ${mostTokens}.`,
    { param: 'prompt', code: 'image_tokens_exceeded' },
  )
}

const marksOf = (plan: ImagePlan): number => tokensOf(plan) - tilesOf(plan).reduce((sum, { tokens }) => sum + tokens, 0)

/** The plan of the largest smaller image that fits, if there is one. */
function largest(
  images: ImagePipeline,
  original: Size,
  detail: Detail,
  bounds: ImageBounds,
  fits: (plan: ImagePlan) => boolean,
): ImagePlan[] {
  let best: ImagePlan[] = []
  let [small, large] = [0, 1]
  for (let halving = 0; halving < halvings; halving++) {
    const scale = (small + large) / 2
    const size = { width: scaled(original.width, scale), height: scaled(original.height, scale) }
    const plan = images.plan(size, detail, bounds)
    if (fits(plan)) [best, small] = [[{ ...plan, name: `${plan.name} as ${size.width}x${size.height}` }], scale]
    else large = scale
  }
  return best
}

const scaled = (edge: number, scale: number): number => Math.max(1, Math.round(edge * scale))

function pixelsOf(plan: ImagePlan): number {
  const { width, height } = seenSize(tilesOf(plan))
  return width * height
}
