import type { PromptUsage } from '../../deployments/index.ts'
import type { Mutable } from './wire.ts'

/** What an upstream says of a prompt. undefined or null: it does not say. */
export interface ToldPrompt {
  readonly promptTokens: number
  readonly cachedTokens?: number | null | undefined
  /** Of each image, or of all of them. */
  readonly images?: readonly number[] | number | null | undefined
  /** Of all of them. */
  readonly videos?: number | null | undefined
  readonly audio?: number | null | undefined
}

/**
 * Puts what an upstream says in the place of an estimate. Few say what attachments took: that is what the estimate of the text
 * leaves of the prompt, so that kinds together are never more than the prompt, and a large image is not taken for a small one.
 */
export function tellPrompt(told: ToldPrompt, prompt: Mutable<PromptUsage>): void {
  const { imageTokens, videoTokens = [], audioTokens = [] } = prompt
  const text = Math.max(0, prompt.promptTokens - sumOf([...imageTokens, ...videoTokens, ...audioTokens]))
  const kinds = [
    { said: told.images, estimate: imageTokens },
    { said: told.videos, estimate: videoTokens },
    { said: told.audio, estimate: audioTokens },
  ]
  const unsaid = kinds.filter(({ said }) => said == null)
  const said = sumOf(kinds.flatMap(({ said }) => said ?? []))
  const rest = shares(
    Math.max(0, told.promptTokens - text - said),
    unsaid.flatMap(({ estimate }) => estimate),
  )
  const [images = [], videos = [], audio = []] = kinds.map(({ said, estimate }) =>
    said == null ? rest.splice(0, estimate.length) : typeof said === 'number' ? shares(said, estimate) : said,
  )
  prompt.promptTokens = told.promptTokens
  prompt.cachedTokens = Math.min(told.cachedTokens ?? prompt.cachedTokens, told.promptTokens)
  prompt.imageTokens = images
  if (prompt.videoTokens !== undefined) prompt.videoTokens = videos
  if (prompt.audioTokens !== undefined) prompt.audioTokens = audio
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0)

/** A sum in whole parts that are in proportion to an estimate, or equal where that is nothing. */
function shares(sum: number, estimate: readonly number[]): number[] {
  let left = sum
  let ofEstimate = sumOf(estimate)
  return estimate.map((one, at) => {
    const share = Math.round(ofEstimate > 0 ? (left * one) / ofEstimate : left / (estimate.length - at))
    left -= share
    ofEstimate -= one
    return share
  })
}
