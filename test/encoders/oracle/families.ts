import { gemma3 } from './families/gemma3.ts'
import { idefics3, oldIdefics3 } from './families/idefics3.ts'
import { internvl } from './families/internvl.ts'
import { kimivl } from './families/kimivl.ts'
import { lfm2 } from './families/lfm2.ts'
import { llama4 } from './families/llama4.ts'
import { granite, llava, llavaAnyres, yiVl } from './families/llava.ts'
import { minicpmv4, minicpmv25, minicpmv26 } from './families/minicpmv.ts'
import { mistral } from './families/mistral.ts'
import { mobilevlm, mobilevlm2 } from './families/mobilevlm.ts'
import { pixtral } from './families/pixtral.ts'
import { qwen2vl, qwen3vl, qwen25vl } from './families/qwen.ts'

/** A small model of random weights whose pictures libmtmd was shown. */
export interface Family {
  /** Of its fixture. */
  readonly name: string
  /** Writes a pair that belongs together, with the real names of tensors and keys. Equal calls write equal files. */
  write(decoder: string, projector: string): void
}

/** Every family of vision encoders, in each of the forms in which its files come. */
export const families: readonly Family[] = [
  gemma3,
  idefics3,
  oldIdefics3,
  internvl,
  kimivl,
  lfm2,
  llama4,
  pixtral,
  mistral,
  llava,
  llavaAnyres,
  yiVl,
  granite,
  mobilevlm,
  mobilevlm2,
  minicpmv25,
  minicpmv26,
  minicpmv4,
  qwen2vl,
  qwen25vl,
  qwen3vl,
]
