import type { AttachmentKind } from '../../attachments.ts'
import type { ModelCard } from '../../models/index.ts'
import { compileTemplate } from '../../prompt/index.ts'
import type { ModelInfo } from '../backend.ts'

/** The description of a model from its files, before it is loaded. */
export const infoOf = (card: ModelCard): ModelInfo => ({
  id: card.id,
  aliases: card.aliases,
  title: card.title,
  description: card.description,
  created: card.created,
  contextTokens: card.contextTokens,
  ...(card.embedding === null
    ? {
        inputs: inputsOf(card),
        boxes: card.coordinates !== null,
        ...abilitiesOf(card.chatTemplate),
      }
    : { inputs: [], boxes: false, ...none, dimensions: card.embedding.dimensions }),
})

/** Tokens of a context that has room for the frames of a video. */
const leastForVideo = 8192

/** The attachments that a model accepts. */
export const inputsOf = ({
  sees,
  hears,
  contextTokens,
}: Pick<ModelCard, 'sees' | 'hears' | 'contextTokens'>): AttachmentKind[] => [
  ...(sees ? (['image'] as const) : []),
  ...(hears ? (['audio'] as const) : []),
  ...(sees && contextTokens >= leastForVideo ? (['video'] as const) : []),
]

/** What the format of a model has. */
type Abilities = Pick<ModelInfo, 'tools' | 'thoughts'>

const none: Abilities = { tools: false, thoughts: false }

/** By template, since a probe takes several trial renderings. */
const known = new Map<string, Abilities>()

/** @param template Jinja; null: the model has none */
function abilitiesOf(template: string | null): Abilities {
  if (template === null) return none
  const found = known.get(template) ?? probe(template)
  known.set(template, found)
  return found
}

function probe(chatTemplate: string): Abilities {
  try {
    const { tools, thoughts } = compileTemplate({ chatTemplate, bosToken: '', eosToken: '', controlTokens: [] })
    return { tools, thoughts }
  } catch {
    return none
  }
}
