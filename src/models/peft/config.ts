import { readFile, stat } from 'node:fs/promises'
import { z } from 'zod'
import { badModel, unsupportedModel } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { shown } from './safetensors.ts'

/** What `adapter_config.json` says, as far as it decides what the matrices mean. */
export interface PeftConfig {
  /** The model that it was trained on, as its maker names it. */
  readonly base: string | null
  readonly alpha: number
  /** Of most modules. */
  readonly rank: number
  /** Whether a product is scaled by `alpha / sqrt(rank)` and not by `alpha / rank`. */
  readonly isRankStabilized: boolean
  /** Other alphas, by the ends of modules' names. */
  readonly alphas: readonly (readonly [end: string, alpha: number])[]
  /** aLoRA: the tokens behind which the adapter begins to work; empty for other adapters. */
  readonly invocation: readonly number[]
}

const positive = z.number().positive()
/** In PEFT the keys are regular expressions. Those of a file are not run, so they must be plain. */
const plainPattern = /^\^?[\w.-]+\$?$/

const schema = z.object({
  peft_type: z.string().default('LORA'),
  base_model_name_or_path: z.string().nullish(),
  r: z.int().positive(),
  lora_alpha: positive,
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  fan_in_fan_out: z.boolean().nullish(),
  lora_bias: z.boolean().nullish(),
  layer_replication: z.array(z.unknown()).nullish(),
  trainable_token_indices: z.unknown().nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  alpha_pattern: z.record(z.string(), positive).nullish(),
  alora_invocation_tokens: z.array(z.int().min(0)).max(1024).nullish(),
})

/** The configurations of PEFT have some kilobytes. */
const mostBytes = 1 << 20
/** Ways to begin a training that also change the base. */
const otherBases = /^(pissa|olora|corda|loftq)/i

/** @throws OrielError `invalid` that says what of the configuration cannot be used */
export async function readPeftConfig(file: string, name: string): Promise<PeftConfig> {
  const bad = (why: string) => badModel(`${name} ${why}.`)
  const { size } = await stat(file).catch(() => ({ size: -1 }))
  if (size < 0) throw bad('is missing')
  if (size > mostBytes) throw bad(`has ${size} bytes; ${mostBytes} are allowed`)
  const { data, error } = schema.safeParse(parseJson(await readFile(file, 'utf8')))
  if (error !== undefined) {
    const [issue] = error.issues
    throw bad(
      issue === undefined || issue.path.length === 0
        ? 'is not a JSON object'
        : `has no valid ${issue.path.join('.')}: ${issue.message.replace(/^Invalid input: /, '')}`,
    )
  }
  const refusal = refusalOf(data)
  if (refusal !== undefined) throw unsupportedModel(`${name} ${refusal}`)
  return {
    base: data.base_model_name_or_path || null,
    alpha: data.lora_alpha,
    rank: data.r,
    isRankStabilized: data.use_rslora === true,
    alphas: Object.entries(data.alpha_pattern ?? {}).map(([pattern, alpha]) => [
      pattern.replace(/^\^|\$$/g, ''),
      alpha,
    ]),
    invocation: data.alora_invocation_tokens ?? [],
  }
}

function refusalOf(config: z.output<typeof schema>): string | undefined {
  const begun = config.init_lora_weights
  const wild = Object.keys(config.alpha_pattern ?? {}).find((pattern) => !plainPattern.test(pattern))
  if (config.peft_type.toUpperCase() !== 'LORA')
    return `has the peft_type ${shown(config.peft_type)}; only LORA is supported.`
  if (config.use_dora) return 'has use_dora: DoRA adapters are not supported.'
  if (config.fan_in_fan_out) return 'has fan_in_fan_out, which is not supported.'
  if (config.lora_bias) return 'has lora_bias: adapters with biases are not supported.'
  if (config.layer_replication?.length) return 'has layer_replication, which is not supported.'
  if (config.trainable_token_indices) return 'has trainable_token_indices: adapters with tokens are not supported.'
  if (wild !== undefined)
    return `has the alpha_pattern ${shown(wild)}; only names of modules are supported, no regular expressions.`
  if (typeof begun === 'string' && otherBases.test(begun))
    return `has the init_lora_weights ${shown(begun)}, which belong to a changed base. PEFT can save them for the original one.`
  return undefined
}

/** How a module's product is scaled, in PEFT: `alpha / rank` or `alpha / sqrt(rank)` of the module. */
export function scalingOf({ alpha, isRankStabilized, alphas }: PeftConfig, module: string, rank: number): number {
  const own = alphas.find(([end]) => matches(end, module))?.[1] ?? alpha
  return own / (isRankStabilized ? Math.sqrt(rank) : rank)
}

/** As PEFT matches them: the end of the name, from the beginning of a part. */
const matches = (end: string, module: string): boolean => module === end || module.endsWith(`.${end}`)
