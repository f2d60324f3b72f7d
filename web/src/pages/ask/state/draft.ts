import { type Signal, signal } from '@preact/signals'
import { announce } from '../../../ui/announce.tsx'
import type { Picture, Question } from './conversation.ts'
import { path } from './conversations.ts'
import { keep } from './files.ts'
import { problemOf } from './inputs.ts'

/** A question that is being written: the next one, or another wording of an earlier one. */
export interface Draft {
  readonly text: Signal<string>
  readonly pictures: Signal<readonly Picture[]>
}

export const draftOf = ({ text, pictures }: Question): Draft => ({ text: signal(text), pictures: signal(pictures) })

/** The next question. */
export const next = draftOf({ text: '', pictures: [] })

export function clearNext(): void {
  next.text.value = ''
  next.pictures.value = []
  refused.value = ''
}

/** The turn whose question is being rewritten. */
export const edited = signal<{ readonly turn: string; readonly draft: Draft } | null>(null)

/** Where pictures go that are dropped or pasted: into the question that is rewritten, if it can be seen. */
export function receiving(): Draft {
  const one = edited.value
  return one !== null && path.value.some(({ id }) => id === one.turn) ? one.draft : next
}

/** Why a file was not added. */
export const refused = signal('')

export async function addFiles(draft: Draft, files: Iterable<File>): Promise<void> {
  const kept = await keepReadable(files)
  if (kept.length === 0) return
  draft.pictures.value = [...draft.pictures.value, ...kept]
  announce(kept.length === 1 ? `Added ${kept[0]?.name}.` : `Added ${kept.length} files.`)
}

export async function replaceFile(draft: Draft, id: string, file: File): Promise<void> {
  const [kept] = await keepReadable([file])
  if (kept === undefined) return
  draft.pictures.value = draft.pictures.value.map((picture) => (picture.id === id ? kept : picture))
}

/** Keeps those files that may be asked about, and says why the first of the others may not. */
export async function keepReadable(files: Iterable<File>): Promise<Picture[]> {
  const all = await Promise.all([...files].map(async (file) => ({ file, problem: await problemOf(file) })))
  refused.value = all.find(({ problem }) => problem !== '')?.problem ?? ''
  return Promise.all(all.filter(({ problem }) => problem === '').map(({ file }) => keep(file)))
}

export function removePicture(draft: Draft, id: string): void {
  draft.pictures.value = draft.pictures.value.filter((picture) => picture.id !== id)
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
