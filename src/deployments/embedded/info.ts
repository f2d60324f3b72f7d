import type { Prices } from '../../config.ts'
import type { ModelCard } from '../../models/index.ts'
import { compileTemplate } from '../../prompt/index.ts'
import type { ModelInfo } from '../backend.ts'

/** The description of a model from its files, before it is loaded. */
export const infoOf = (card: ModelCard, prices: Prices): ModelInfo => ({
  id: card.id,
  aliases: card.aliases,
  title: card.title,
  description: card.description,
  created: card.created,
  contextTokens: card.contextTokens,
  inputs: card.projector === null ? [] : ['image'],
  tools: supportsTools(card.chatTemplate),
  prices,
})

/** By template, since a probe takes several trial renderings. */
const known = new Map<string, boolean>()

/** Whether a model's chat template supports tools. @param template Jinja; null: the model has none */
function supportsTools(template: string | null): boolean {
  if (template === null) return false
  const found = known.get(template) ?? probe(template)
  known.set(template, found)
  return found
}

function probe(chatTemplate: string): boolean {
  try {
    return compileTemplate({ chatTemplate, bosToken: '', eosToken: '', controlTokens: [] }).tools
  } catch {
    return false
  }
}
