import { signal } from '@preact/signals'
import recipes from '../../../../../examples/recipes.json'
import { details, noSettings, type Settings } from './conversation.ts'
import { updateCurrent } from './conversations.ts'
import { clearNext, next } from './draft.ts'
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

/** A picture of the examples, as a person would have picked it. */
export async function exampleFile(name: string): Promise<File> {
  const type = name.endsWith('.pdf') ? 'application/pdf' : 'image/png'
  return new File([await (await fetch(exampleUrl(name))).blob()], name, { type })
}

/** The recipe of the next question. */
export const prepared = signal<Recipe | null>(null)

/** Prepares a question as a recipe has it. A person changes it, and sends it. */
export async function prepare(recipe: Recipe): Promise<void> {
  const { images, each, system, question, detail, sampling, schema } = recipe
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
  clearNext()
  next.text.value = question
  // A recipe for each picture of a folder asks about one at a time.
  const names = each ? images.slice(0, 1) : images
  const pictures = await Promise.all(names.map(async (name) => keep(await exampleFile(name))))
  if (prepared.value === recipe) next.pictures.value = pictures
}

/** Takes a recipe away that was not asked. */
export function putAway(): void {
  if (prepared.value !== null) clearNext()
  prepared.value = null
}
