import { parentPort, workerData } from 'node:worker_threads'
import { toWire, type WireError } from '../children/index.ts'
import type { ChatMessage, PromptPart } from './messages.ts'
import { type ChatExtras, compileTemplate, type TemplateModel } from './template.ts'

export interface LayoutTask {
  messages: readonly ChatMessage[]
  extras: ChatExtras
}

/** In the order of the tasks. */
export type LayoutResult = { parts: PromptPart[] } | { error: WireError }

const { layout } = compileTemplate(workerData as TemplateModel)

parentPort?.on('message', ({ messages, extras }: LayoutTask) => {
  let result: LayoutResult
  try {
    result = { parts: layout(messages, extras) }
  } catch (error) {
    result = { error: toWire(error, 'A chat could not be laid out.') }
  }
  parentPort?.postMessage(result)
})
