import type { AdapterCard } from '../models/index.ts'
import type { Backend } from './backend.ts'

/** A model with an adapter: whatever it is asked is asked with it. */
export const adapted = (model: Backend, card: AdapterCard): Backend => ({
  info: model.info,
  answer: (ask, signal, ...hears) => model.answer({ ...ask, adapter: { card, scale: 1 } }, signal, ...hears),
  count: (ask, signal) => model.count(ask, signal),
  ...(model.cut && { cut: model.cut.bind(model) }),
  ...(model.preview && { preview: model.preview.bind(model) }),
  state: () => model.state(),
  close: () => model.close(),
})
