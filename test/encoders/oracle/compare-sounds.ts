import {
  calibrateEncoder,
  chunksOf,
  type EncoderSettings,
  heardAtOnce,
  needAudioArchitecture,
  openAudioEncoder,
} from '../../../src/encoders/index.ts'
import { openSmall } from '../../support/decoder.ts'
import type { Rounding } from './compare.ts'
import type { Family } from './families.ts'
import { type ModelFiles, openFiles } from './files.ts'
import { dot, farther, type Nearness, nearest } from './nearness.ts'
import { addOutliers } from './outliers.ts'
import { testSound } from './sounds.ts'
import { heardOf, prompt, type ToldSound } from './told.ts'

/** A family's model, and the results of libmtmd. */
export interface HearingSubject extends ModelFiles {
  readonly told: readonly ToldSound[]
}

export const openHearing = (family: Family): HearingSubject => ({ ...openFiles(family), told: heardOf(family.name) })

/** Text as token ids, chunks as their number of embeddings. */
type Layout = (number | number[])[]

/** The layouts of prompts with each sound, as they are planned and in libmtmd. */
export async function compareSoundLayouts({
  projector,
  decoder: file,
  told,
}: HearingSubject): Promise<{ samples: number; ours: Layout; theirs: Layout }[]> {
  const architecture = await needAudioArchitecture(projector)
  const decoder = openSmall(file)
  const [before, after] = prompt
  const compared = told.map(({ samples, layout }) => {
    const ours: Layout = []
    let text: string = before
    const write = () => {
      if (text !== '') ours.push([...decoder.vocabulary.tokenize(text, true)])
      text = ''
    }
    for (const part of architecture.plan(samples).layout) {
      if (typeof part === 'string') text += part
      else {
        write()
        ours.push(part.tokens)
      }
    }
    text += after
    write()
    return { samples, ours, theirs: layout.map((part) => ('text' in part ? part.text : part.tokens)) }
  })
  decoder.close()
  return compared
}

/** @throws Error if another runtime than the given one computes */
export async function compareSoundEmbeddings(
  { projector }: HearingSubject,
  runtime: 'onnx' | 'ggml',
  told: readonly ToldSound[],
): Promise<Nearness> {
  const { architecture, encode, ...encoder } = await openAudioEncoder(projector, {
    ...{ runtime, precision: 'fp32', threads: 1 },
  })
  if (encoder.runtime !== runtime) throw new Error(`${encoder.runtime} computes instead of ${runtime}`)
  let nearness = nearest
  for (const { samples, layout } of told) {
    const heard = heardAtOnce(architecture.listen(testSound(samples)))
    const chunks = chunksOf(architecture.plan(samples))
    for (const [i, expected] of layout.filter((part) => !('text' in part)).entries()) {
      const chunk = chunks[i]
      if (chunk === undefined || !('rows' in expected)) continue
      nearness = farther(nearness, await encode(heard, chunk, 1), architecture.width, expected)
    }
  }
  await encoder.close()
  return nearness
}

/** @param outliers whether some channels of every norm are twenty times as large: the file is changed for it */
export async function compareSoundForms({ projector, told }: HearingSubject, outliers = false): Promise<Rounding> {
  if (outliers) await addOutliers(projector)
  const settings = { runtime: 'onnx', threads: 1 } as const
  const choice = await calibrateEncoder(projector, settings, async () => {}, 'audio')
  const open = (form: Pick<EncoderSettings, 'precision' | 'choice'>) =>
    openAudioEncoder(projector, { ...settings, ...form })
  const exact = await open({ precision: 'fp32' })
  const [chosen, int8] = [await open({ precision: 'auto', choice }), await open({ precision: 'int8' })]
  const sums = { exact: 0, chosen: 0, int8: 0 }
  for (const { samples } of told) {
    const heard = heardAtOnce(exact.architecture.listen(testSound(samples)))
    const [chunk] = chunksOf(exact.architecture.plan(samples))
    if (chunk === undefined) continue
    const embeddings = await exact.encode(heard, chunk, 1)
    const squared = (found: Float32Array) =>
      found.reduce((sum, value, at) => sum + (value - (embeddings[at] ?? 0)) ** 2, 0)
    sums.exact += dot(embeddings, embeddings)
    sums.chosen += squared(await chosen.encode(heard, chunk, 1))
    sums.int8 += squared(await int8.encode(heard, chunk, 1))
  }
  for (const encoder of [exact, chosen, int8]) await encoder.close()
  return { chosen: Math.sqrt(sums.chosen / sums.exact), int8: Math.sqrt(sums.int8 / sums.exact), calibrated: choice }
}
