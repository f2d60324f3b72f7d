import { OrielError } from '../errors.ts'
import type { AttachmentSource } from '../media/index.ts'
import type { ModelInfo } from './backend.ts'

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

/** @throws OrielError `invalid` about the first attachment that the model does not take, or boxes that it does not write */
export function checkRequest(
  { id, inputs, boxes }: ModelInfo,
  attachments: readonly AttachmentSource[],
  wantsBoxes: boolean,
): void {
  for (const { kind, param } of attachments)
    if (!inputs.includes(kind))
      throw new OrielError('invalid', `The model ${id} does not accept ${nouns[kind]}.`, {
        param,
        code: `${kind}_not_supported`,
      })
  if (wantsBoxes && !boxes)
    throw new OrielError(
      'invalid',
      `No form in which the model ${id} writes boxes is known. Models that have one list the feature "grounding".`,
      { param: 'boxes', code: 'boxes_not_supported' },
    )
}

const nouns = { image: 'images', audio: 'audio', video: 'video' } as const
