import { effect } from '@preact/signals'
import { get, keyWanted, perKey, readInto, type ServerError } from '../../../server/client.ts'
import type { Input } from './conversation.ts'
import { current, startNew, updateCurrent } from './conversations.ts'

/** A model of `GET /v1/models`, as far as this page uses it. */
export interface Model {
  id: string
  title?: string
  description?: string
  state: 'loaded' | 'loading' | 'available' | 'failed' | 'not_pulled'
  /** 0 to 1, while it is loaded. */
  progress?: number
  error?: string
  context_length?: number
  supports_chat?: boolean
  supports_image_input?: boolean
  supports_video_input?: boolean
  supports_audio_input?: boolean
  supports_tools?: boolean
  features?: readonly string[]
}

/** undefined: the server has not said yet. */
export const models = perKey<readonly Model[] | undefined>(undefined)
/** Why there is no list; undefined: there is one, or the server has not said. */
export const modelsError = perKey<ServerError | undefined>(undefined)

export const modelOf = (id: string): Model | undefined => models.value?.find((model) => model.id === id)

/** The models of the conversation that do not take an input. Pictures are taken until the server says otherwise. */
export const refusing = (input: Input): readonly string[] =>
  current.value.models.filter((id) => !(modelOf(id)?.[`supports_${input}_input`] ?? input === 'image'))

/** The models of the server that take an input. */
export const taking = (input: Input): readonly string[] =>
  (models.value ?? [])
    .filter((model) => model[`supports_${input}_input`] && model.state !== 'failed' && model.state !== 'not_pulled')
    .map(({ id }) => id)

/** Whether all models of the conversation take an input. */
export const takes = (input: Input): boolean =>
  refusing(input).length === 0 && (input === 'image' || current.value.models.length > 0)

/** What a model is called here: its title, unless another has the same one. */
export function nameOf(id: string): string {
  const title = modelOf(id)?.title
  const isOnly = models.value?.filter((model) => model.title === title).length === 1
  return title !== undefined && isOnly ? title : id
}

export const loadModels = (): Promise<void> =>
  readInto(
    modelsError,
    () => get<{ data: Model[] }>('/v1/models'),
    ({ data }) => {
      models.value = data.filter((model) => model.supports_chat !== false)
      chooseModels()
    },
  )

const isListed = (): boolean => models.value !== undefined || modelsError.value !== undefined

/** Waits until the server has said, or could not say, what its models take. */
export async function listed(): Promise<void> {
  let stop = (): void => {}
  await new Promise<void>((resolve) => {
    stop = effect(() => {
      if (isListed()) resolve()
    })
  })
  stop()
}

/** Looks at the states again and again. @returns what ends it */
export function watchModels(interval: number): () => void {
  const timer = setInterval(() => {
    if (!document.hidden && !keyWanted.value) void loadModels()
  }, interval)
  return () => clearInterval(timer)
}

/** A link to this page may name the model of a new conversation: `/?model=pocket`. */
export function takeLinkedModel(): void {
  const model = new URLSearchParams(location.search).get('model')
  if (model === null) return
  history.replaceState(null, '', location.pathname)
  startNew([model])
}

/**
 * A conversation without a model gets the first that reads pictures, and so does one that has not begun, if its model is not
 * here. One that has begun keeps its model: it may be missing for a moment only, as while its server restarts.
 */
function chooseModels(): void {
  const { models: chosen, turns } = current.value
  const isSettled = turns.length === 0 ? chosen.some((id) => modelOf(id) !== undefined) : chosen.length > 0
  const first = models.value?.find((model) => model.supports_image_input) ?? models.value?.[0]
  if (isSettled || first === undefined) return
  updateCurrent((conversation) => ({ ...conversation, models: [first.id] }))
}
