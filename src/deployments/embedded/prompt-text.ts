import type { AnswerToken as EngineToken } from '../../engine/index.ts'
import type { PlainPart, Settings } from '../ask.ts'
import type { AnswerToken, DescribedPrompt, PromptToken } from '../backend.ts'

/** Stands for an image where a prompt is shown as text. */
const image = '<image>'

/** A prompt as text: as it was laid out, or from its tokens where the client sent tokens. */
export function promptText(
  parts: readonly PlainPart[],
  attachments: readonly { length: number }[],
  tokens: readonly (PromptToken | null)[],
): string {
  if (parts.some(({ kind }) => kind === 'tokens')) return textOf(tokens)
  return parts
    .map((part) => {
      if (part.kind === 'text') return part.text
      return part.kind === 'tokens' ? '' : image.repeat(attachments[part.attachment]?.length ?? 1)
    })
    .join('')
}

/** The part of a prompt that its answer repeats. */
export function echoOf({ text, tokens }: DescribedPrompt, echo: Settings['echo']): string {
  if (echo === 'all') return text
  return echo === null || echo === 0 ? '' : textOf(tokens.slice(-echo))
}

/** An echo of a prompt with log probabilities. Its text is that of the tokens, control tokens included. */
export function echoWithLogprobs(
  { tokens }: DescribedPrompt,
  chances: readonly (EngineToken | null)[],
): { text: string; tokens: AnswerToken[] } {
  const told = tokens.flatMap((token, index): AnswerToken[] => {
    if (token !== null) return [{ ...token, logprob: chances[index]?.logprob ?? null, top: chances[index]?.top ?? [] }]
    return tokens[index - 1] === null ? [] : [{ id: -1, bytes: Buffer.from(image), logprob: null, top: [] }]
  })
  return { text: textOf(tokens), tokens: told }
}

function textOf(tokens: readonly (PromptToken | null)[]): string {
  const bytes = tokens.flatMap((token, index) => {
    if (token !== null) return [...token.bytes]
    return tokens[index - 1] === null ? [] : [...Buffer.from(image)]
  })
  return Buffer.from(bytes).toString('utf8')
}
