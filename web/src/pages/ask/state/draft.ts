import { effect, type Signal, signal } from '@preact/signals'
import { announce } from '../../../ui/announce.tsx'
import type { Picture, Question, Turn } from './conversation.ts'
import { path } from './conversations.ts'
import { keep } from './files.ts'
import { problemOf } from './inputs.ts'
import { keepQuestion, keptQuestion } from './kept-question.ts'
import { fileOf } from './store.ts'

/** A question that is being written: the next one, or another wording of an earlier one. */
export interface Draft {
  readonly text: Signal<string>
  readonly pictures: Signal<readonly Picture[]>
  /** Files that are on their way into it. It is not sent without them. */
  readonly arriving: Signal<number>
}

const draftOf = ({ text, pictures }: Question): Draft => ({
  ...{ text: signal(text), pictures: signal(pictures), arriving: signal(0) },
})

/** The next question. */
export const next = draftOf(keptQuestion())
effect(() => keepQuestion({ text: next.text.value, pictures: next.pictures.value }))

/** Takes those pictures out of it whose files are gone: a window that keeps nothing loses them with the page. */
export async function dropLost(): Promise<void> {
  for (const { id } of next.pictures.value)
    if ((await fileOf(id)) === undefined)
      next.pictures.value = next.pictures.value.filter((picture) => picture.id !== id)
}

export function clearNext(): void {
  next.text.value = ''
  next.pictures.value = []
  refused.value = ''
}

/** Questions that are being rewritten, by the ids of their turns. The last one was begun last. */
export const edits = signal<ReadonlyMap<string, Draft>>(new Map())

export function beginEdit({ id, question }: Turn): void {
  edits.value = new Map([...edits.value, [id, draftOf(question)]])
}

export function endEdit(turn: string): void {
  edits.value = new Map([...edits.value].filter(([id]) => id !== turn))
}

/** Where pictures go that are dropped or pasted: into the question that is rewritten, if it can be seen. */
export function receiving(): Draft {
  const seen = [...edits.value].filter(([turn]) => path.value.some(({ id }) => id === turn))
  return seen.at(-1)?.[1] ?? next
}

/** Why a file was not added. */
export const refused = signal('')

export async function addFiles(draft: Draft, files: Iterable<File>): Promise<void> {
  const all = [...files]
  await bringInto(draft, all.length, async () => {
    const kept = await keepReadable(all)
    if (kept.length === 0) return
    draft.pictures.value = [...draft.pictures.value, ...kept]
    announce(kept.length === 1 ? `Added ${kept[0]?.name}.` : `Added ${kept.length} files.`)
  })
}

export async function replaceFile(draft: Draft, id: string, file: File): Promise<void> {
  await bringInto(draft, 1, async () => {
    const [kept] = await keepReadable([file])
    if (kept === undefined) return
    draft.pictures.value = draft.pictures.value.map((picture) => (picture.id === id ? kept : picture))
  })
}

/** Brings files into a question, which waits for them. */
export async function bringInto(draft: Draft, files: number, bring: () => Promise<void>): Promise<void> {
  draft.arriving.value += files
  try {
    await bring()
  } finally {
    draft.arriving.value -= files
  }
}

/** Keeps those files that may be asked about, and says why the first of the others may not. */
export async function keepReadable(files: Iterable<File>): Promise<Picture[]> {
  const all = await Promise.all([...files].map(async (file) => ({ file, problem: await problemOf(file) })))
  refused.value = all.find(({ problem }) => problem !== '')?.problem ?? ''
  const kept: Picture[] = []
  // One after the other: each takes the memory of its pixels while it is looked at.
  for (const { file, problem } of all) if (problem === '') kept.push(await keep(file))
  return kept
}

export function removePicture(draft: Draft, { id, name }: Picture): void {
  draft.pictures.value = draft.pictures.value.filter((picture) => picture.id !== id)
  announce(`Removed ${name}.`)
}

/** @param to an index among the pictures; beyond them nothing moves */
export function movePicture(draft: Draft, id: string, to: number): void {
  const pictures = [...draft.pictures.value]
  const from = pictures.findIndex((picture) => picture.id === id)
  if (from === -1 || to < 0 || to >= pictures.length || from === to) return
  pictures.splice(to, 0, ...pictures.splice(from, 1))
  draft.pictures.value = pictures
  announce(`Picture ${to + 1} of ${pictures.length}.`)
}

export function changePicture(draft: Draft, id: string, change: Partial<Picture>): void {
  draft.pictures.value = draft.pictures.value.map((picture) =>
    picture.id === id ? { ...picture, ...change } : picture,
  )
}
