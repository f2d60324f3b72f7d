import { type Ask, type ChatPrompt, plainSettings, type Settings } from '../../../src/deployments/index.ts'
import { wires } from '../../../src/upstreams/wire/index.ts'
import type { PreparedAsk } from '../../../src/upstreams/wire/wire.ts'
import { chatPrompt } from '../../support/chat-prompt.ts'

export type Api = keyof typeof wires

const question = chatPrompt(['user', 'Hello'])

export const weather = {
  name: 'weather',
  description: 'The weather of a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
  param: 'tools[0].function.parameters',
}

interface Asked {
  prompt?: Partial<ChatPrompt>
  settings?: Partial<Settings>
  ask?: Partial<PreparedAsk>
}

export const askOf = ({ prompt = {}, settings = {}, ask = {} }: Asked = {}): PreparedAsk => ({
  prompt: { ...question, ...prompt },
  attachments: [],
  prepared: [],
  settings: { ...plainSettings, ...settings },
  client: 'a',
  ...ask,
})

/** A question about one attachment. */
export function about(kind: 'image' | 'video' | 'audio', changes: Partial<Ask['attachments'][number]> = {}): Asked {
  const types = { image: ['png', 'image/png'], video: ['mp4', 'video/mp4'], audio: ['mp3', 'audio/mpeg'] } as const
  const [format, type] = types[kind]
  const attachment = { kind, param: 'messages[0].content[0]', url: 'data:', detail: 'auto', ...changes }
  const files = [{ format, type, base64: Buffer.from('AAAA') }]
  return {
    prompt: {
      messages: [
        {
          role: 'user',
          content: [
            { kind, attachment: 0 },
            { kind: 'text', text: 'What is it?' },
          ],
        },
      ],
    },
    ask: {
      attachments: [attachment as Ask['attachments'][number]],
      prepared: [{ kind, files, asFrames: false, fetchMs: 0, decodeMs: 0 }],
    },
  }
}

/** The body of the request that asks an upstream. */
export const bodyOf = (api: Api, asked: Asked = {}) =>
  JSON.parse(String(wires[api].call(askOf(asked), 'a-model').body)) as Record<string, unknown>
