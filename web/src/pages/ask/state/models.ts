import { effect, signal } from '@preact/signals'
import { get, keyWanted, ServerError } from '../../../server/client.ts'
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
export const models = signal<readonly Model[] | undefined>(undefined)
/** Why there is no list. */
export const modelsError = signal<ServerError | null>(null)

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

export async function loadModels(): Promise<void> {
  try {
    const { data } = await get<{ data: Model[] }>('/v1/models')
    models.value = data.filter((model) => model.supports_chat !== false)
    modelsError.value = null
    chooseModels()
  } catch (error) {
    modelsError.value = error instanceof ServerError ? error : new ServerError('The models cannot be listed.', 0)
  }
}

const isListed = (): boolean => models.value !== undefined || modelsError.value !== null

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

/** A conversation without a model that is here gets the first that reads pictures. */
function chooseModels(): void {
  const known = current.value.models.filter((id) => modelOf(id) !== undefined)
  const first = models.value?.find((model) => model.supports_image_input) ?? models.value?.[0]
  if (known.length > 0 || first === undefined) return
  updateCurrent((conversation) => ({ ...conversation, models: [first.id] }))
}
