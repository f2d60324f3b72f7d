import { isCalled, type ModelInfo } from '../deployments/index.ts'
import { configOf } from '../load-config.ts'
import { type Surveyed, settingsOf, survey } from '../upstreams/index.ts'
import { tokensText } from './figures.ts'

/** The upstreams of the configuration, with their models. @throws OrielError `invalid` about the configuration */
export const upstreamsHere = (): Promise<Surveyed[]> => survey(settingsOf(configOf({}).upstreams))

export const upstreamRows = (surveyed: readonly Surveyed[]): string[][] => [
  ['UPSTREAM', 'NAME', 'TAKES', 'CONTEXT'],
  ...surveyed.flatMap(({ name, models }) =>
    models.map(({ id, inputs, contextTokens }) => [name, id, takesText(inputs), contextText(contextTokens)]),
  ),
]

export const upstreamJson = ({ name, api, models, error }: Surveyed) => ({
  ...{ name, api, error: error?.message ?? null },
  models: models.map(({ id, title, inputs, contextTokens }) => {
    return { id, title, inputs, context_tokens: contextTokens || null }
  }),
})

/** A model that upstreams answer for. */
interface ModelElsewhere extends ModelInfo {
  readonly upstreams: readonly string[]
}

export async function modelElsewhere(name: string): Promise<ModelElsewhere | undefined> {
  const called = (await upstreamsHere()).flatMap(({ name: upstream, models }) =>
    models.filter((model) => isCalled(model, name)).map((model) => ({ ...model, upstreams: [upstream] })),
  )
  const [first] = called
  return first && { ...first, upstreams: called.flatMap(({ upstreams }) => upstreams) }
}

export const elsewhereJson = ({ id, aliases, title, upstreams, inputs, contextTokens }: ModelElsewhere) => ({
  ...{ name: id, aliases, title, upstreams, inputs, context_tokens: contextTokens || null },
})

export const elsewhereRows = ({ id, aliases, title, upstreams, inputs, contextTokens }: ModelElsewhere): string[][] =>
  [
    ['name', id],
    ['also', aliases.join(', ')],
    ['title', title],
    ['answered by', upstreams.join(', ')],
    ['takes', takesText(inputs)],
    ['context', contextText(contextTokens)],
  ].filter(([, text]) => text !== '')

/** 0: nobody knows. */
const contextText = (tokens: number): string => (tokens === 0 ? '' : tokensText(tokens))

export const takesText = (inputs: readonly ('image' | 'audio' | 'video')[]): string =>
  ['text', ...inputs.map((input) => ({ image: 'images', audio: 'audio', video: 'video' })[input])].join(', ')
