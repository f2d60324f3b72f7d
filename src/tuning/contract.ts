import { z } from 'zod'

/**
 * What a trainer gets and gives, whether it is ours or another program. It gets a folder with `config.json`, `train.jsonl`,
 * maybe `eval.jsonl`, and `images/`. It writes lines of JSON on its standard output, and leaves an adapter in the format of
 * PEFT in `output/` (`adapter_config.json`, `adapter_model.safetensors`). What it needs to go on after a stop it keeps in
 * `checkpoint/`. SIGTERM means: keep a checkpoint and exit with code 0.
 */

export const files = {
  config: 'config.json',
  train: 'train.jsonl',
  evaluation: 'eval.jsonl',
  images: 'images',
  checkpoint: 'checkpoint',
  output: 'output',
} as const

/** A line of `train.jsonl` or `eval.jsonl`. */
export const exampleLine = z.strictObject({
  /** Where the example is in the file that it came from, counted from 1, for errors. */
  line: z.int().positive().optional(),
  messages: z.array(
    z.strictObject({
      role: z.enum(['system', 'user', 'assistant', 'tool']),
      content: z.array(
        z.discriminatedUnion('type', [
          z.strictObject({ type: z.literal('text'), text: z.string() }),
          /** A path in the folder, such as `images/3f2a….png`. */
          z.strictObject({ type: z.literal('image'), image: z.string() }),
        ]),
      ),
      /** Of an answer: 0, it is not learned. */
      weight: z.union([z.literal(0), z.literal(1)]).optional(),
      tool_calls: z.array(z.unknown()).optional(),
      tool_call_id: z.string().optional(),
    }),
  ),
  tools: z.array(z.unknown()).optional(),
})
export type ExampleLine = z.output<typeof exampleLine>

const positive = z.int().positive()
const count = z.int().nonnegative()

/** How an adapter is trained. */
export const hyperparameters = z.strictObject({
  /** Instead of the model's own. */
  chatTemplate: z.string().nullable(),
  epochs: z.number().positive(),
  /** The highest, after the warm-up. It falls to 0 as a cosine. */
  learningRate: z.number().positive(),
  warmupSteps: count,
  rank: positive,
  /** What the adapter adds is multiplied by `alpha / rank`. */
  alpha: z.number().positive(),
  /** Examples whose gradients make one step of the optimizer, at most. */
  batchExamples: positive,
  /** Tokens that make one, at most; null: any number. */
  batchTokens: positive.nullable(),
  /** Tokens of an example; longer ones lose their end. */
  maxTokens: positive,
  /** Whether the last matrix of the projector is trained, too, which makes embeddings of what the encoder sees. */
  trainProjector: z.boolean(),
  /** Whether training ends when the evaluation loss has not fallen for two evaluations. */
  earlyStop: z.boolean(),
  seed: count,
})
export type Hyperparameters = Readonly<z.output<typeof hyperparameters>>

/** `config.json` */
export const trainingConfig = hyperparameters.extend({
  /** The base model: its id, and its GGUF files. */
  base: z.strictObject({ id: z.string(), decoder: z.string(), projector: z.string().nullable() }),
  /** A folder with an adapter in the format of PEFT to go on from. */
  warmStart: z.string().nullable(),
  /** How the server reads images. */
  reading: z.strictObject({
    maxImages: positive,
    maxPixels: positive,
    maxTotalPixels: positive,
    visionRuntime: z.enum(['onnx', 'ggml']),
    visionPrecision: z.enum(['auto', 'fp32', 'int8']),
    weightCacheBytes: count,
  }),
  /** Memory that the trainer may take, in bytes. */
  memoryBytes: positive,
  threads: positive,
})
export type TrainingConfig = z.output<typeof trainingConfig>

/** What the examples of a job are. All but `evaluation` count those that are trained on. */
export const exampleCounts = z.strictObject({
  examples: count,
  evaluation: count,
  tokens: count,
  learnedTokens: count,
  images: count,
  imageTokens: count,
  /** Examples that were longer than `maxTokens`. */
  truncated: count,
  /** Of these, the ones of which nothing is left that can be learned. They are left out. */
  dropped: count,
})
export type ExampleCounts = z.output<typeof exampleCounts>

/** A line of the trainer's standard output. Others are its log. */
export const progressLine = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('phase'),
    phase: z.enum(['preparing', 'training', 'writing']),
    /** Of the phase, 0 to 1. */
    share: z.number().min(0).max(1),
  }),
  /** What the examples are, before the first step; once more if there are more steps than were reckoned. */
  z.strictObject({
    type: z.literal('examples'),
    ...exampleCounts.shape,
    /** Steps that all epochs have. */
    steps: z.int(),
    /** Of memory that training takes, reckoned. */
    memoryBytes: z.int().optional(),
  }),
  z.strictObject({
    type: z.literal('step'),
    step: z.int(),
    epoch: z.number(),
    /** The mean over the learned tokens of the step, before it is taken. */
    loss: z.number(),
    learningRate: z.number(),
    gradientNorm: z.number(),
    /** All tokens that were trained on so far. */
    tokens: z.int(),
    /** Of training so far, stops left out. */
    seconds: z.number(),
  }),
  z.strictObject({ type: z.literal('evaluation'), step: z.int(), loss: z.number() }),
  z.strictObject({ type: z.literal('done'), step: z.int(), earlyStopped: z.boolean(), bestStep: z.int().nullable() }),
  /** For a person. It names no path and nothing of the examples' text. */
  z.strictObject({ type: z.literal('failed'), message: z.string() }),
])
export type ProgressLine = z.output<typeof progressLine>

export const noCounts: ExampleCounts = {
  examples: 0,
  evaluation: 0,
  tokens: 0,
  learnedTokens: 0,
  images: 0,
  imageTokens: 0,
  truncated: 0,
  dropped: 0,
}
