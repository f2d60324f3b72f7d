import type { EngineModel } from '../../engine/index.ts'
import type { Loaded } from '../../media/index.ts'
import { type Ask, mostTokensSaid } from '../ask.ts'

/** The prompt of an ask. One for a transcription has the form that the model was trained with, if it has one of its own. */
export function promptOf({ prompt, speech }: Ask, { name, controlTokens }: EngineModel): Ask['prompt'] {
  if (speech?.task !== 'transcribe' || prompt.kind !== 'chat') return prompt
  const { attachment, language, about } = speech
  const audio = { kind: 'audio', attachment } as const
  // Voxtral.
  if (controlTokens.includes('[TRANSCRIBE]')) {
    const spoken = language === null ? '' : `lang:${language}`
    const [before, after] = ['[INST]', `[/INST]${spoken}[TRANSCRIBE]`].map(
      (text) => ({ kind: 'text', text, special: true }) as const,
    )
    return { kind: 'plain', parts: [before, audio, after].filter((part) => part !== undefined) }
  }
  // It takes no instruction: its system prompt is what the audio is about, and it names the language itself.
  if (/qwen3[-_. ]?asr/i.test(name)) {
    const context = about === null ? [] : [{ role: 'system', content: [{ kind: 'text', text: about } as const] }]
    return { ...prompt, messages: [...context, { role: 'user', content: [audio] }] }
  }
  return prompt
}

/** An ask whose answer ends soon after the speech that it is about, however the model repeats itself. */
export function bounded(ask: Ask, loaded: readonly Loaded[]): Ask {
  const { speech, settings } = ask
  const heard = speech === undefined ? undefined : loaded[speech.attachment]
  if (heard?.kind !== 'audio') return ask
  const maxTokens = Math.min(settings.maxTokens ?? Number.POSITIVE_INFINITY, mostTokensSaid(heard.sound.seconds))
  return { ...ask, settings: { ...settings, maxTokens } }
}
