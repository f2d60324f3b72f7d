import { cogvlm } from './families/cogvlm.ts'
import { deepseekocr, deepseekocr2 } from './families/deepseekocr.ts'
import { dotsocr } from './families/dotsocr.ts'
import { gemma3 } from './families/gemma3.ts'
import { gemma3n } from './families/gemma3n.ts'
import { gemma4, gemma4E2b, gemma4Unified } from './families/gemma4.ts'
import { glm4v, glmocr } from './families/glm4v.ts'
import { granite4 } from './families/granite4.ts'
import { hunyuanvl } from './families/hunyuanvl.ts'
import { idefics3, oldIdefics3, unevenIdefics3 } from './families/idefics3.ts'
import { internvl } from './families/internvl.ts'
import { januspro } from './families/januspro.ts'
import { glm52v, kimik25, kimivl } from './families/kimivl.ts'
import { lfm2 } from './families/lfm2.ts'
import { llama4 } from './families/llama4.ts'
import { granite, llava, llavaAnyres, yiVl } from './families/llava.ts'
import { mimovl } from './families/mimovl.ts'
import { minicpmv4, minicpmv25, minicpmv26, minicpmv46, minicpmv46fine } from './families/minicpmv.ts'
import { minimaxm3 } from './families/minimaxm3.ts'
import { mistral } from './families/mistral.ts'
import { mobilevlm, mobilevlm2 } from './families/mobilevlm.ts'
import { museglimmer } from './families/museglimmer.ts'
import { nemotron } from './families/nemotron.ts'
import { paddleocr } from './families/paddleocr.ts'
import { phi4 } from './families/phi4.ts'
import { lightonocr, pixtral } from './families/pixtral.ts'
import { exaone45, qwen2vl, qwen3vl, qwen25o, qwen25vl } from './families/qwen.ts'
import { qwen35 } from './families/qwen35.ts'
import { step3vl } from './families/step3vl.ts'
import { youtuvl } from './families/youtuvl.ts'

/** A small model of random weights, which libmtmd ran on the images of the fixtures. */
export interface Family {
  /** The name of its fixture. */
  readonly name: string
  /** Of the images of its fixture, if all would take too long. */
  readonly sizes?: readonly (readonly [width: number, height: number])[]
  /** Of the sounds of its fixture, in samples, if libmtmd does not survive all. */
  readonly lengths?: readonly number[]
  /** Whether it has no layers, and so no matrices in integers. */
  readonly isExact?: boolean
  /** Writes a decoder and its vision file, with the real names of tensors and keys. Equal calls write equal files. */
  write(decoder: string, projector: string): void
}

/** Every family of image encoders, in each variant of its files. */
export const families: readonly Family[] = [
  cogvlm,
  deepseekocr,
  deepseekocr2,
  dotsocr,
  gemma3,
  gemma3n,
  gemma4,
  gemma4E2b,
  gemma4Unified,
  glm4v,
  glmocr,
  granite4,
  hunyuanvl,
  idefics3,
  oldIdefics3,
  unevenIdefics3,
  internvl,
  januspro,
  kimik25,
  glm52v,
  kimivl,
  lfm2,
  lightonocr,
  llama4,
  paddleocr,
  phi4,
  pixtral,
  mistral,
  llava,
  llavaAnyres,
  yiVl,
  granite,
  mobilevlm,
  mobilevlm2,
  mimovl,
  minicpmv25,
  minicpmv26,
  minicpmv4,
  minicpmv46,
  minicpmv46fine,
  minimaxm3,
  museglimmer,
  nemotron,
  qwen2vl,
  qwen25vl,
  qwen25o,
  exaone45,
  qwen3vl,
  qwen35,
  step3vl,
  youtuvl,
]

/** One of each way to make tiles. */
export const oneOfEachTiling = [
  gemma3,
  gemma4,
  idefics3,
  lfm2,
  llavaAnyres,
  minicpmv26,
  qwen2vl,
  glm4v,
  granite4,
  lightonocr,
]
