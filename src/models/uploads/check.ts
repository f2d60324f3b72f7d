import path from 'node:path'
import { badModel } from '../../errors.ts'
import { readCard } from '../card.ts'
import { splitParts } from '../file-names.ts'
import type { EncoderFamilies } from '../fit.ts'
import { modelsIn } from '../local.ts'

/**
 * Checks the files of a model that is not yet among the models: one decoder, with all of its parts, and at most one encoder.
 * @param names of all files in the folder
 * @throws OrielError `invalid` with the reason
 */
export async function checkModel(folder: string, names: readonly string[], families: EncoderFamilies): Promise<void> {
  const models = await modelsIn(folder)
  const [model] = models
  if (model === undefined) throw badModel('It has no decoder whose parts are complete.')
  if (models.length > 1) throw badModel(`It has ${models.length} decoders: ${models.map(({ id }) => id).join(', ')}.`)
  const own = [...splitParts(model.decoder), ...(model.projector === null ? [] : [model.projector])]
  const other = names.find((name) => !own.includes(path.join(folder, name)))
  if (other !== undefined) throw badModel(`No part of the model needs ${other}.`)
  await readCard(model, families)
}
