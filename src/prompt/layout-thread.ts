import { parentPort, workerData } from 'node:worker_threads'
import { type TaskResult, toWire } from '../children/index.ts'
import type { ChatMessage, PromptPart } from './messages.ts'
import { type ChatExtras, compileTemplate, type TemplateModel } from './template.ts'

export interface LayoutTask {
  messages: readonly ChatMessage[]
  extras: ChatExtras
}

export interface LayoutResult {
  parts: PromptPart[]
}

const { layout } = compileTemplate(workerData as TemplateModel)

parentPort?.on('message', ({ messages, extras }: LayoutTask) => {
  let result: TaskResult<LayoutResult>
  try {
    result = { parts: layout(messages, extras) }
  } catch (error) {
    result = { error: toWire(error, 'A chat could not be laid out.') }
  }
  parentPort?.postMessage(result)
})
