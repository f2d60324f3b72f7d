import type { ImageFamily } from '../image-architecture.ts'
import { gemma3 } from './gemma3.ts'
import { idefics3 } from './idefics3.ts'
import { internvl } from './internvl.ts'
import { kimivl } from './kimivl.ts'
import { lfm2 } from './lfm2.ts'
import { llama4 } from './llama4.ts'
import { llava } from './llava.ts'
import { minicpmv } from './minicpmv.ts'
import { mobilevlm } from './mobilevlm.ts'
import { mobilevlm2 } from './mobilevlm2.ts'
import { pixtral } from './pixtral.ts'
import { qwen2vl } from './qwen2vl.ts'
import { qwen3vl } from './qwen3vl.ts'
import { qwen25vl } from './qwen25vl.ts'

/** Every family of image encoders that can be run. */
export const imageFamilies: readonly ImageFamily[] = [
  gemma3,
  idefics3,
  internvl,
  kimivl,
  lfm2,
  llama4,
  llava,
  minicpmv,
  mobilevlm,
  mobilevlm2,
  pixtral,
  qwen2vl,
  qwen25vl,
  qwen3vl,
]
