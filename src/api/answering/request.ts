import type { Ask } from '../../deployments/index.ts'

/** A request as every dialect tells it: the words of one API end here. */
export interface AnswerRequest extends Ask {
  model: string
  /** The dialect's own names for parts of the ask, for errors. */
  params: { prompt: string; grammar: string; longest: string }
}

/** Cached prompts are shared by the body's key, else by the header's; where both differ, by both together. */
export const isolationOf = (header: string, body?: string | null): string[] =>
  [...new Set([body ?? '', header])].filter((key) => key !== '')
