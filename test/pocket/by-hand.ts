import { readFileSync } from 'node:fs'
import { askAll, dataUrl, declines, type Picture } from './held-out.ts'

/** A question that somebody wrote about a picture that another program made: `pictures/make.sh`. */
interface Question {
  /** Its index. */
  picture: number
  question: string
  /** What a right answer matches, whatever its case. `null`: Pocket cannot know it, and must say so. */
  right: string | null
}

type Verdict = 'right' | 'declined' | 'wrong'

export interface Judged {
  /** The name of the picture's file. */
  picture: string
  question: string
  said: string
  verdict: Verdict
}

export function readByHand(): { pictures: { file: string; by: string }[]; questions: Question[] } {
  const lines: ((Picture & { file: string; by: string }) | Question)[] = JSON.parse(
    readFileSync(new URL('./by-hand.json', import.meta.url), 'utf8'),
  )
  return {
    pictures: lines.flatMap((line) => ('by' in line ? [line] : [])),
    questions: lines.flatMap((line) => ('question' in line ? [line] : [])),
  }
}

/** Asks the server all of them, and judges the answers by the rules of the questions. */
export async function askByHand(url: string): Promise<Judged[]> {
  const { pictures, questions } = readByHand()
  const outcomes = await askAll(url, {
    images: pictures.map(dataUrl),
    cases: questions.map(({ picture, question }, index) => ({
      skill: `${index}`,
      messages: [{ role: 'user', content: [picture, question] }],
      answer: '',
    })),
  })
  return questions.map(({ picture, question, right }, index) => {
    const said = outcomes.find(({ skill }) => skill === `${index}`)?.said ?? ''
    return { picture: pictures[picture]?.file.split('/').at(-1) ?? '', question, said, verdict: judge(said, right) }
  })
}

export function judge(said: string, right: string | null): Verdict {
  if (declines(said)) return right === null ? 'right' : 'declined'
  return right !== null && new RegExp(right, 'i').test(said) ? 'right' : 'wrong'
}
