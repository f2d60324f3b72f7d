import { describe, expect, it } from 'vitest'
import { bounded, promptOf } from '../../src/deployments/embedded/transcription.ts'
import { type Ask, plainSettings } from '../../src/deployments/index.ts'
import type { EngineModel } from '../../src/engine/index.ts'
import { audioOf, soundOf } from '../support/videos.ts'

const audio = { kind: 'audio', attachment: 0 } as const
const chat: Ask['prompt'] = {
  ...{ kind: 'chat', messages: [{ role: 'user', content: [audio, { kind: 'text', text: 'Transcribe the audio.' }] }] },
  ...{ tools: [], calling: { mode: 'none', parallel: false }, variables: {}, splitReasoning: true },
  ...{ continues: false, longest: null },
}
const ask = (speech?: Ask['speech']): Ask => ({
  ...{ prompt: chat, attachments: [], settings: plainSettings, client: 'one', speech },
})
const model = (name: string, ...controlTokens: string[]) => ({ name, controlTokens }) as unknown as EngineModel

describe('the prompt of a transcription', () => {
  const english = { task: 'transcribe', attachment: 0, language: 'en', about: 'Oriel' } as const

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
    expect(promptOf(ask({ ...english, task: 'translate' }), voxtral)).toBe(chat)
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

describe('the answer about speech', () => {
  const loaded = [audioOf(soundOf('call', 10))]
  const longest = (asked: Ask) => bounded(asked, loaded).settings.maxTokens

  it.each(['transcribe', 'translate'] as const)(
    'ends soon after the audio, however a model repeats itself: %s',
    (task) => {
      const spoken = ask({ task, attachment: 0, language: null, about: null })
      expect(longest(spoken)).toBe(10 * 16 + 64)
      expect(longest({ ...spoken, settings: { ...plainSettings, maxTokens: 30 } })).toBe(30)
    },
  )

  it('is not bounded otherwise', () => {
    expect(longest(ask())).toBe(null)
  })
})
