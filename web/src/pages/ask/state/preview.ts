import { apiKey, get } from '../../../server/client.ts'
import type { Picture } from './conversation.ts'
import { current } from './conversations.ts'
import { dataUrlOf } from './files.ts'
import { modelOf, models } from './models.ts'
import { partOf } from './request.ts'

/** `POST /v1/preview`: what a model gets to see. */
export interface Preview {
  longest_edge: number
  tokens: number
  pictures: SeenPicture[]
}

export interface SeenPicture {
  format: string
  bytes: number
  page: number
  pages: number
  width: number
  height: number
  decoded: { width: number; height: number }
  tokens: number
  seen: { width: number; height: number }
  views: View[]
}

export interface View {
  kind: 'whole' | 'overview' | 'tiles'
  width: number
  height: number
  tiles: { x: number; y: number; width: number; height: number; tokens: number }[]
  image: string
}

/** What was asked already, by model, file, detail and pages: the answer is always the same. */
const known = new Map<string, Promise<Preview>>()
apiKey.subscribe(() => known.clear())

/** @throws ServerError */
export function previewOf(model: string, picture: Picture, detail: string): Promise<Preview> {
  const key = [model, picture.id, detail, picture.pages].join(' ')
  const before = known.get(key)
  if (before !== undefined) return before
  const asked = dataUrlOf(picture).then((url) =>
    get<Preview>('/v1/preview', { method: 'POST', body: { model, content: [partOf(picture, detail, url)] } }),
  )
  known.set(key, asked)
  asked.catch(() => known.delete(key))
  // They are pictures: a few of them are kept.
  const oldest = known.keys().next().value
  if (known.size > 24 && oldest !== undefined) known.delete(oldest)
  return asked
}

/** A model that looks at pictures: that of the conversation, if it does. */
export function lookingModel(): string | undefined {
  const looks = (id: string): boolean => modelOf(id)?.supports_image_input === true
  return current.value.models.find(looks) ?? models.value?.find(({ id }) => looks(id))?.id
}

/** A URL of the first page as a model sees it. undefined: the server cannot show it. */
export async function pictureOf(picture: Picture): Promise<string | undefined> {
  const model = lookingModel()
  if (model === undefined) return undefined
  const [, first = '1'] = /^(\d+)/.exec(picture.pages) ?? []
  const seen = await previewOf(model, { ...picture, pages: first }, 'auto').catch(() => undefined)
  return seen?.pictures[0]?.views.at(-1)?.image
}
