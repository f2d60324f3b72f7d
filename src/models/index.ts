export type { PulledAdapter } from './adapter-pull.ts'
export type { AdapterCard } from './adapters.ts'
export type { EncoderFacts, ModelCard, ModelFacts } from './card.ts'
export {
  type CatalogueEntry,
  catalogue,
  entryOf,
  estimatedBytes,
  estimatedSize,
  familiesOf,
  machineOfReference,
  purposeOf,
} from './catalogue.ts'
export type { EmbeddingFacts } from './embedding.ts'
export { splitOf, splitParts } from './file-names.ts'
export { createLibrary, type Library } from './library.ts'
export { NotPulled, type Origin } from './local.ts'
export { Pace } from './pace.ts'
export { plannedNumbers } from './peft/convert.ts'
export { decoderTargets } from './peft/decoder-names.ts'
export { type PeftBase, peftNames, planPeft, readPeft } from './peft/plan.ts'
export { decoderOf, lastOfProjector } from './peft/vision-names.ts'
export type { PullEvent } from './pull.ts'
export { type PullState, Pulls } from './pulls.ts'
export type { ModelFile } from './removal.ts'
export type { Upload } from './uploads/folder.ts'
export type { Uploads } from './uploads/uploads.ts'
