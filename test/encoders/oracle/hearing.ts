import { gemma4a, gemma4ua } from './families/gemma4a.ts'
import { graniteSpeech, graniteSpeechPlus } from './families/granite-speech.ts'
import { lfm2a } from './families/lfm2a.ts'
import { qwen3a } from './families/qwen3a.ts'
import { glma, meralion, musicflamingo, qwen2a, qwen25oHearing, ultravox, voxtral } from './families/whisper.ts'
import type { Family } from './families.ts'

/** Every family of audio encoders, in each variant of its files. */
export const hearing: readonly Family[] = [
  ultravox,
  voxtral,
  musicflamingo,
  qwen2a,
  qwen25oHearing,
  meralion,
  glma,
  qwen3a,
  gemma4ua,
  gemma4a,
  lfm2a,
  graniteSpeech,
  graniteSpeechPlus,
]
