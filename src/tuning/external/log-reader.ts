import { noCounts, type ProgressLine, type TrainingConfig } from '../contract.ts'

/**
 * Reads the log of programs that are made with the Trainer of Hugging Face's transformers, as all presets are. At each step it
 * writes a dictionary of Python: `{'loss': 0.61, 'grad_norm': 1.2, 'learning_rate': 1e-05, 'epoch': 0.1}`, in newer versions with
 * the numbers in quotes. ms-swift adds `'global_step/max_steps': '5/100'`.
 */
export class LogReader {
  readonly #config: TrainingConfig
  readonly #counts: { readonly examples: number; readonly evaluation: number }
  readonly #began = performance.now()
  #steps: number
  /** Steps that were told last. */
  #told = 0
  #step = 0

  constructor(config: TrainingConfig, counts: { examples: number; evaluation: number }) {
    this.#config = config
    this.#counts = counts
    // The last step of an epoch has the examples that are left.
    this.#steps = Math.ceil(config.epochs * Math.ceil(counts.examples / config.batchExamples))
  }

  /** @returns what a line says of progress; nothing for any other line */
  read(line: string): readonly ProgressLine[] {
    const found = /\{'[^{}]*\}/.exec(line)?.[0]
    if (found === undefined) return []
    const values = valuesOf(found)
    const of = (name: string): number | undefined => {
      const value = Number(values.get(name) ?? Number.NaN)
      return Number.isFinite(value) ? value : undefined
    }
    const evaluated = of('eval_loss')
    if (evaluated !== undefined) return [{ type: 'evaluation', step: this.#step, loss: evaluated }]
    const loss = of('loss')
    if (loss === undefined) return []
    const [, at, all] = /^(\d+)\/(\d+)$/.exec(values.get('global_step/max_steps') ?? '') ?? []
    const isFirst = this.#step === 0
    this.#step = Number(at ?? this.#step + 1)
    const epoch = of('epoch')
    this.#steps = Math.max(this.#step, Number(all ?? this.#stepsBy(epoch)))
    const begun: ProgressLine[] = [
      ...(isFirst || this.#steps > this.#told ? [this.#examples()] : []),
      ...(isFirst ? [{ type: 'phase', phase: 'training', share: 0 } as const] : []),
    ]
    const step: ProgressLine = {
      ...{
        type: 'step',
        step: this.#step,
        epoch: epoch ?? (this.#step / this.#steps) * this.#config.epochs,
        loss,
      },
      learningRate: of('learning_rate') ?? this.#config.learningRate,
      gradientNorm: of('grad_norm') ?? 0,
      tokens: of('num_input_tokens_seen') ?? 0,
      seconds: (performance.now() - this.#began) / 1000,
    }
    return [...begun, step]
  }

  /** How many there are: words that were added to the command may have made them more than was reckoned. */
  #stepsBy(epoch = 0): number {
    if (this.#step <= this.#steps || epoch <= 0) return this.#steps
    return Math.ceil((this.#step / epoch) * this.#config.epochs)
  }

  /** Other programs do not count tokens before they train. */
  #examples(): ProgressLine {
    this.#told = this.#steps
    return {
      type: 'examples',
      ...noCounts,
      ...this.#counts,
      steps: this.#steps,
    }
  }
}

/** The entries of a dictionary of numbers and texts, as Python prints it. */
function valuesOf(text: string): Map<string, string> {
  const entries = text.matchAll(/'([\w/]+)': (?:'([^']*)'|([-+\w.]+))/g)
  return new Map([...entries].map(([, name = '', quoted, plain = '']) => [name, quoted ?? plain]))
}
