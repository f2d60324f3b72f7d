import type { Question } from './conversation.ts'

/** The next question in this tab, as far as it is written: it is still there when the page is loaded again. */
const name = 'oriel.next'

/** An empty one if there is none. */
export function keptQuestion(): Question {
  try {
    const { text, pictures } = JSON.parse(sessionStorage.getItem(name) ?? '{}') as Partial<Question>
    return { text: text ?? '', pictures: pictures ?? [] }
  } catch {
    return { text: '', pictures: [] }
  }
}

/** Its pictures are in the store: of them it has no more than what they are called and how large they are. */
export function keepQuestion({ text, pictures }: Question): void {
  try {
    if (text === '' && pictures.length === 0) sessionStorage.removeItem(name)
    else sessionStorage.setItem(name, JSON.stringify({ text, pictures }))
  } catch {
    // Private windows have no storage, or none left.
  }
}
