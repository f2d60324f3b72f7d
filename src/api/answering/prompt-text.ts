import type { AnswerToken, PromptToken } from '../../deployments/index.ts'
import type { PlainPrompt, Settings } from './request.ts'

/** A prompt for people to look at. */
export interface DescribedPrompt {
  /** Text as the model reads it, `<image>` for each picture. */
  text: string
  tokens: readonly (PromptToken | null)[]
}

/** What stands for a picture where a prompt is shown as text. */
const image = '<image>'

/** A prompt as text: as it was laid out, or from its tokens where it came as such. */
export function promptText(
  parts: PlainPrompt['parts'],
  pictures: readonly { length: number }[],
  tokens: readonly (PromptToken | null)[],
): string {
  if (parts.some(({ kind }) => kind === 'tokens')) return textOf(tokens)
  return parts
    .map((part) => {
      if (part.kind === 'text') return part.text
      return part.kind === 'picture' ? image.repeat(pictures[part.picture]?.length ?? 1) : ''
    })
    .join('')
}

/** How much of a prompt its answer begins with. */
export function echoOf({ text, tokens }: DescribedPrompt, echo: Settings['echo']): string {
  if (echo === 'all') return text
  return echo === null || echo === 0 ? '' : textOf(tokens.slice(-echo))
}

/** A token as answers tell of it. What nothing foretold has no chance. */
export type ToldToken = Omit<AnswerToken, 'logprob'> & { logprob: number | null }

/** An echo of a prompt with the chances of its tokens: its text is theirs, control tokens and all. */
export function toldEcho(
  { tokens }: DescribedPrompt,
  chances: readonly (AnswerToken | null)[],
): { text: string; tokens: ToldToken[] } {
  const told = tokens.flatMap((token, index): ToldToken[] => {
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
