import type { ImageFamily } from '../image-architecture.ts'
import { cogvlm } from './cogvlm.ts'
import { deepseekocr } from './deepseekocr.ts'
import { deepseekocr2 } from './deepseekocr2.ts'
import { dotsocr } from './dotsocr.ts'
import { gemma3 } from './gemma3.ts'
import { gemma3nv } from './gemma3nv.ts'
import { gemma4uv } from './gemma4uv.ts'
import { gemma4v } from './gemma4v.ts'
import { glm4v } from './glm4v.ts'
import { granite4vision } from './granite4vision.ts'
import { hunyuanvl } from './hunyuanvl.ts'
import { idefics3 } from './idefics3.ts'
import { internvl } from './internvl.ts'
import { januspro } from './januspro.ts'
import { kimik25, kimivl } from './kimivl.ts'
import { lfm2 } from './lfm2.ts'
import { llama4 } from './llama4.ts'
import { llava } from './llava.ts'
import { mimovl } from './mimovl.ts'
import { minicpmv } from './minicpmv.ts'
import { minicpmv46 } from './minicpmv46.ts'
import { minimaxm3 } from './minimaxm3.ts'
import { mobilevlm } from './mobilevlm.ts'
import { mobilevlm2 } from './mobilevlm2.ts'
import { museglimmer } from './museglimmer.ts'
import { nemotron } from './nemotron.ts'
import { paddleocr } from './paddleocr.ts'
import { phi4 } from './phi4.ts'
import { lightonocr, pixtral } from './pixtral.ts'
import { qwen2vl } from './qwen2vl.ts'
import { qwen3vl } from './qwen3vl.ts'
import { exaone45, qwen25vl } from './qwen25vl.ts'
import { step3vl } from './step3vl.ts'
import { youtuvl } from './youtuvl.ts'

/** Every family of image encoders that can be run. */
export const imageFamilies: readonly ImageFamily[] = [
  cogvlm,
  deepseekocr,
  deepseekocr2,
  dotsocr,
  exaone45,
  gemma3,
  gemma3nv,
  gemma4uv,
  gemma4v,
  glm4v,
  granite4vision,
  hunyuanvl,
  idefics3,
  internvl,
  januspro,
  kimik25,
  kimivl,
  lfm2,
  lightonocr,
  llama4,
  llava,
  mimovl,
  minicpmv,
  minicpmv46,
  minimaxm3,
  mobilevlm,
  mobilevlm2,
  museglimmer,
  nemotron,
  paddleocr,
  phi4,
  pixtral,
  qwen2vl,
  qwen25vl,
  qwen3vl,
  step3vl,
  youtuvl,
]
