import { describe, expect, it } from 'vitest'
import { promptOf } from '../../src/deployments/embedded/transcription.ts'
import { type Ask, plainSettings } from '../../src/deployments/index.ts'
import type { EngineModel } from '../../src/engine/index.ts'

const audio = { kind: 'audio', attachment: 0 } as const
const chat: Ask['prompt'] = {
  ...{ kind: 'chat', messages: [{ role: 'user', content: [audio, { kind: 'text', text: 'Transcribe the audio.' }] }] },
  ...{ tools: [], calling: { mode: 'none', parallel: false }, variables: {}, splitReasoning: true },
  ...{ continues: false, longest: null },
}
const ask = (transcribes?: Ask['transcribes']): Ask => ({
  ...{ prompt: chat, attachments: [], settings: plainSettings, client: 'one', transcribes },
})
const model = (name: string, ...controlTokens: string[]) => ({ name, controlTokens }) as unknown as EngineModel

describe('the prompt of a transcription', () => {
  const english = { attachment: 0, language: 'en', about: 'Oriel' }

  it('is a chat in words for most models', () => {
    expect(promptOf(ask(english), model('ultravox'))).toBe(chat)
  })

  it('is the form of Voxtral, with the language if it is known', () => {
    const voxtral = model('voxtral', '[INST]', '[TRANSCRIBE]')
    const text = (words: string) => ({ kind: 'text', text: words, special: true })
    expect(promptOf(ask(english), voxtral)).toEqual({
      kind: 'plain',
      parts: [text('[INST]'), audio, text('[/INST]lang:en[TRANSCRIBE]')],
    })
    expect(promptOf(ask({ ...english, language: null }), voxtral)).toMatchObject({
      parts: [text('[INST]'), audio, text('[/INST][TRANSCRIBE]')],
    })
    expect(promptOf(ask(), voxtral)).toBe(chat)
  })

  it('is nothing but the audio for Qwen3-ASR, after what it is about', () => {
    const asr = model('Qwen3-ASR-0.6B')
    expect(promptOf(ask(english), asr)).toMatchObject({
      messages: [
        { role: 'system', content: [{ kind: 'text', text: 'Oriel' }] },
        { role: 'user', content: [audio] },
      ],
    })
    expect(promptOf(ask({ ...english, about: null }), asr)).toMatchObject({
      messages: [{ role: 'user', content: [audio] }],
    })
  })
})
