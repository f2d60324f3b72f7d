import type { AudioFamily } from '../../audio-architecture.ts'
import { gemma4a } from './gemma4a.ts'
import { gemma4ua } from './gemma4ua.ts'
import { glma } from './glma.ts'
import { graniteSpeech } from './granite-speech.ts'
import { lfm2a } from './lfm2a.ts'
import { meralion } from './meralion.ts'
import { musicflamingo } from './musicflamingo.ts'
import { qwen2a } from './qwen2a.ts'
import { qwen3a } from './qwen3a.ts'
import { ultravox } from './ultravox.ts'
import { voxtral } from './voxtral.ts'

/** Every family of audio encoders that can be run. */
export const audioFamilies: readonly AudioFamily[] = [
  gemma4a,
  gemma4ua,
  glma,
  graniteSpeech,
  lfm2a,
  meralion,
  musicflamingo,
  qwen2a,
  qwen3a,
  ultravox,
  voxtral,
]
