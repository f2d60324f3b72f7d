import { OrielError } from '../errors.ts'
import type { AttachmentSource } from '../media/index.ts'
import type { ModelInfo } from './backend.ts'
import type { ListedModel } from './listing.ts'

/** @throws OrielError `invalid` if the model does not answer */
export function checkAnswers(info: ModelInfo): void {
  if (info.dimensions !== undefined) throw doesNotAnswer(info)
}

/** @throws OrielError `invalid` if the model does not embed */
export function checkEmbeds(info: ModelInfo): void {
  if (info.dimensions === undefined) throw doesNotEmbed(info)
}

export const doesNotAnswer = ({ id }: ModelInfo): OrielError =>
  new OrielError('invalid', `The model ${id} embeds texts and does not answer. Send texts to /v1/embeddings.`, {
    param: 'model',
    code: 'model_embeds',
  })

export const doesNotEmbed = ({ id }: ModelInfo): OrielError =>
  new OrielError(
    'invalid',
    `The model ${id} answers and does not embed. Name an embedding model: GET /v1/models?features=embeddings lists them.`,
    { param: 'model', code: 'model_answers' },
  )

/**
 * Checks what a request wants of a model before the model is loaded.
 * @param list the models that may be named instead
 * @throws OrielError `invalid` about the first attachment that the model does not take, or boxes that it does not write
 */
export async function checkRequest(
  info: ModelInfo,
  attachments: readonly AttachmentSource[],
  wantsBoxes: boolean,
  list: () => Promise<readonly ListedModel[]>,
): Promise<void> {
  const refused = attachments.find(({ kind }) => !info.inputs.includes(kind))
  if (refused !== undefined) throw doesNotAccept(info, refused, await list())
  if (wantsBoxes && !info.boxes)
    throw new OrielError(
      'invalid',
      `No form in which the model ${info.id} writes boxes is known. Models that have one list the feature "grounding".`,
      { param: 'boxes', code: 'boxes_not_supported' },
    )
}

function doesNotAccept(
  { id }: ModelInfo,
  { kind, param }: AttachmentSource,
  listed: readonly ListedModel[],
): OrielError {
  const accepting = listed.filter(({ inputs }) => inputs.includes(kind))
  const here = accepting.filter(({ state }) => state !== 'not_pulled' && state !== 'failed')
  const others =
    here.length > 0
      ? ` Models on this server that do: ${namesOf(here)}.`
      : accepting.length > 0
        ? ` No model on this server does. Models that can be downloaded: ${namesOf(accepting)}.`
        : ''
  return new OrielError('invalid', `The model ${id} does not accept ${nouns[kind]}.${others}`, {
    param,
    code: `${kind}_not_supported`,
  })
}

/** Models that an error names. */
const mostNamed = 5

const namesOf = (models: readonly ListedModel[]): string =>
  models
    .slice(0, mostNamed)
    .map(({ id }) => id)
    .join(', ')

const nouns = { image: 'images', audio: 'audio', video: 'video' } as const
