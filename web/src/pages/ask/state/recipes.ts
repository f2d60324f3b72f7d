import { signal } from '@preact/signals'
import recipes from '../../../../../examples/recipes.json'
import { details, noSettings, type Question, type Settings } from './conversation.ts'
import { updateCurrent } from './conversations.ts'
import { bringInto, next } from './draft.ts'
import { keep } from './files.ts'

export type Recipe = (typeof recipes)[number]
export { recipes }

/** The URLs of the examples' pictures, which are loaded when they are shown. */
const urls = import.meta.glob<string>('../../../../../examples/*.{png,pdf}', {
  query: '?url',
  import: 'default',
  eager: true,
})

export const exampleUrl = (name: string): string => urls[`../../../../../examples/${name}`] ?? ''

/** A picture of the examples, as a person would have picked it. @throws Error if the server does not send it */
export async function exampleFile(name: string): Promise<File> {
  const type = name.endsWith('.pdf') ? 'application/pdf' : 'image/png'
  const response = await fetch(exampleUrl(name)).catch(() => undefined)
  if (!response?.ok) throw new Error(`${name} cannot be loaded: the server may be away.`)
  return new File([await response.blob()], name, { type })
}

/** The recipe of the next question. */
export const prepared = signal<Recipe | null>(null)

/** What it has put into the question. What is not the same any more is a person's own. */
let placed: Question = { text: '', pictures: [] }

/** Prepares a question as a recipe has it. A person changes it, and sends it. What they wrote before stays. */
export async function prepare(recipe: Recipe): Promise<void> {
  const { images, each, system, question, detail, sampling, schema } = recipe
  putAway()
  prepared.value = recipe
  const parameters = Object.entries(sampling).map(([name, value]) => [name, String(value)])
  const settings: Settings = {
    ...noSettings,
    system: system ?? '',
    detail: details.find((one) => one === detail) ?? 'auto',
    parameters: Object.fromEntries(parameters),
    schema: schema === null ? '' : JSON.stringify(schema, null, 2),
  }
  updateCurrent((before) => ({ ...before, settings }))
  if (next.text.value.trim() === '') next.text.value = question
  placed = { text: question, pictures: [] }
  if (next.pictures.value.length > 0) return
  // A recipe for each picture of a folder asks about one at a time.
  const names = each ? images.slice(0, 1) : images
  await bringInto(next, names.length, async () => {
    const pictures = await Promise.all(names.map(async (name) => keep(await exampleFile(name))))
    if (prepared.value !== recipe || next.pictures.value.length > 0) return
    next.pictures.value = pictures
    placed = { text: question, pictures }
  })
}

/** Takes a recipe away that was not asked. */
export function putAway(): void {
  if (next.text.value === placed.text) next.text.value = ''
  if (next.pictures.value === placed.pictures) next.pictures.value = []
  placed = { text: '', pictures: [] }
  prepared.value = null
}
