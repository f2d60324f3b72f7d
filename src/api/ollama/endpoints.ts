import { answerEndpoint, type Work } from '../answer-route.ts'
import type { Endpoint, RequestContext } from '../dialects/dialect.ts'
import { type Framing, ndjson } from '../sse.ts'
import { asChat, asGenerate, chatAnswer, generateAnswer, lines, whole, withoutAnswer } from './answer.ts'
import { embedEndpoints } from './embed.ts'
import { psEndpoint, pullEndpoint, showEndpoint, tagsEndpoint, versionEndpoint } from './models.ts'
import { readChat, readGenerate, unloads } from './read.ts'
import { refusedEndpoints } from './refused.ts'
import { type ChatRequest, chatRequest, type GenerateRequest, generateRequest, withoutTag } from './schema.ts'

const chatEndpoint = answerEndpoint({
  path: '/chat',
  tag: 'Ollama',
  summary: 'Answer a chat with images',
  body: chatRequest,
  answer: chatAnswer,
  event: chatAnswer,
  transport: ndjson,
  read: (body, context) => [readChat(body, context)],
  whole: whole(asChat),
  events: lines(asChat),
  framing: lineFraming,
  instead: (body) =>
    body.messages?.length ? undefined : async (work) => withoutAnswer(asChat, body, await prepared(body, work)),
})

const generateEndpoint = answerEndpoint({
  path: '/generate',
  tag: 'Ollama',
  summary: 'Answer one prompt with images',
  body: generateRequest,
  answer: generateAnswer,
  event: generateAnswer,
  transport: ndjson,
  read: readGenerate,
  whole: whole(asGenerate),
  events: lines(asGenerate),
  framing: lineFraming,
  instead: (body) =>
    body.prompt ? undefined : async (work) => withoutAnswer(asGenerate, body, await prepared(body, work)),
})

export const ollamaEndpoints: readonly Endpoint[] = [
  chatEndpoint,
  generateEndpoint,
  ...embedEndpoints,
  tagsEndpoint,
  showEndpoint,
  psEndpoint,
  versionEndpoint,
  pullEndpoint,
  ...refusedEndpoints,
]

/** Loads the model of a request that asks nothing, or unloads it. @throws OrielError */
async function prepared(
  body: ChatRequest | GenerateRequest,
  { services: { deployments }, model, requests, client, signal }: Work,
): Promise<'load' | 'unload'> {
  if (unloads(body)) {
    await deployments.unload(withoutTag(body.model), client)
    return 'unload'
  }
  const { knows = () => true } = requests[0] ?? {}
  await model.hold(signal, { client, knows })
  return 'load'
}

function lineFraming<Event>({ dialect, requestId }: RequestContext): Framing<Event> {
  return {
    event: (event) => `${JSON.stringify(event)}\n`,
    failure: (error) => `${JSON.stringify(dialect.errors.body(error, requestId))}\n`,
    end: '',
  }
}
