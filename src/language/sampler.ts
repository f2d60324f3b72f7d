import { OrielError } from '../errors.ts'
import { Candidates, type Llama, type LlamaContext, type Sampler, type Vocab } from '../native/index.ts'
import type { Vocabulary } from './vocabulary.ts'

/** How the next token is chosen from the logits. */
export interface SamplerSettings {
  /** 0 is greedy. */
  temperature: number
  topP: number
  /** 0: no bound. */
  topK: number
  minP: number
  typicalP: number
  /** Keeps the surprise of the tokens near a target, in place of the bounds above; null: off. */
  mirostat: { target: number; rate: number } | null
  repetitionPenalty: number
  frequencyPenalty: number
  presencePenalty: number
  /** null: a fresh one. */
  seed: number | null
  logitBias: readonly { token: number; bias: number }[]
  /** In GBNF, with a rule named root; null: none. */
  grammar: string | null
  /** Text behind which the grammar begins to hold; without it, from the answer's first word on. */
  grammarAfter?: string
}

/** How many of the last tokens the penalties look at, as llama.cpp's tools have it. */
const penaltyWindow = 64

/** Below it logits divided by the temperature leave the range of 32-bit floats, and llama.cpp chooses the last token. */
const coldest = 1e-6

/** Chooses tokens for one answer, by llama.cpp's own samplers in their usual order. */
export interface TokenSampler {
  /**
   * @param row of the batch that was decoded last
   * @param logits of that row `[vocabulary]`
   * @returns null when the grammar and the biases leave no token to choose
   * @throws OrielError `invalid` for a grammar that takes too long to follow
   */
  sample(context: LlamaContext, row: number, logits: () => Float32Array): number | null
  free(): void
}

/** @throws OrielError `invalid` for a grammar that does not parse */
export function createSampler(
  llama: Llama,
  vocab: Vocab,
  settings: SamplerSettings,
  vocabulary: Vocabulary,
): TokenSampler {
  const grammar = settings.grammar === null ? null : parseGrammar(llama, vocab, settings.grammar)
  const chain = createChain(llama, vocab, settings)
  const free = freeSampler(llama, chain)
  if (grammar === null) return free
  const bound = boundSampler(llama, vocab, chain, grammar, vocabulary)
  return settings.grammarAfter === undefined ? bound : boundAfter(settings.grammarAfter, free, bound, vocabulary)
}

function createChain(llama: Llama, vocab: Vocab, settings: SamplerSettings): Sampler {
  const chain = llama.newChain()
  const size = llama.vocabSize(vocab)
  const add = (sampler: Sampler) => llama.chainAdd(chain, sampler)
  if (settings.logitBias.length > 0) add(llama.logitBias(size, settings.logitBias))
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = settings
  if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0)
    add(llama.penalties(size, penaltyWindow, repetitionPenalty, frequencyPenalty, presencePenalty))
  const seed = settings.seed ?? Math.floor(Math.random() * 0xffffffff)
  if (settings.temperature < coldest) add(llama.greedy())
  else if (settings.mirostat !== null) {
    add(llama.temperature(settings.temperature))
    add(llama.mirostat(seed, settings.mirostat.target, settings.mirostat.rate))
  } else {
    if (settings.topK > 0) add(llama.topK(settings.topK))
    if (settings.typicalP < 1) add(llama.typical(settings.typicalP, 1))
    if (settings.topP < 1) add(llama.topP(settings.topP, 1))
    if (settings.minP > 0) add(llama.minP(settings.minP, 1))
    add(llama.temperature(settings.temperature))
    add(llama.dist(seed))
  }
  return chain
}

const freeSampler = (llama: Llama, chain: Sampler): TokenSampler => ({
  sample: (context, row) => llama.sample(chain, context, row),
  free: () => llama.freeSampler(chain),
})

/**
 * Samples under a grammar. Not by one chain: where nothing is allowed a chain chooses all the same, and the grammar ends
 * the process when it is told of a token that it does not allow.
 */
function boundSampler(
  llama: Llama,
  vocab: Vocab,
  chain: Sampler,
  grammar: Sampler,
  vocabulary: Vocabulary,
): TokenSampler {
  const candidates = new Candidates(llama.vocabSize(vocab))
  /** The last bytes that were written: as many as an unfinished character has. */
  let tail = Buffer.alloc(0)
  /** ms that the two choices before took. */
  let choices: number[] = []
  const choose = (): number | null => {
    llama.samplerApply(chain, candidates.pointer)
    return candidates.selected
  }
  /**
   * What would be chosen anyway, if the grammar allows it: to ask it of one token takes microseconds, and of 150,000 some
   * 30 ms, for which everybody waits. A draw that is not allowed is drawn again from what is: that leaves the chances as they
   * are, but where top_p and its like cut, which they do among all tokens then. llama.cpp's tools do the same.
   */
  const freely = (logits: Float32Array): number | null => {
    candidates.fill(logits)
    const token = choose()
    if (token === null) return null
    candidates.fillOne(token)
    llama.samplerApply(grammar, candidates.pointer)
    return candidates.open ? token : null
  }
  const within = (logits: Float32Array): number | null => {
    candidates.fill(logits)
    llama.samplerApply(grammar, candidates.pointer)
    return candidates.open ? choose() : null
  }
  return {
    sample(_context, _row, logits) {
      const elapsed = stopwatch()
      const token = freely(logits()) ?? within(logits())
      if (token === null) return null
      const written = Buffer.concat([tail, vocabulary.bytes(token, true)])
      if (zeros.some((zero) => written.includes(zero))) return null
      tail = written.subarray(-3)
      llama.samplerAccept(grammar, token)
      llama.samplerAccept(chain, token)
      const [took, before] = [elapsed(), choices.at(-1) ?? 0]
      if (took > longChoice && took > 2 * before && before > 2 * (choices.at(-2) ?? 0))
        throw new OrielError('invalid', 'The grammar can be followed in too many ways at once by what is written.', {
          param: 'response_format',
          code: 'invalid_grammar',
        })
      choices = [before, took]
      return token
    },
    free() {
      llama.freeSampler(chain)
      llama.freeSampler(grammar)
      candidates.free()
    },
  }
}

/** U+0000 in too many bytes: llama.cpp allows it everywhere and follows it nowhere, which ends the process. */
const zeros = [
  [0xc0, 0x80],
  [0xe0, 0x80, 0x80],
  [0xf0, 0x80, 0x80, 0x80],
].map((bytes) => Buffer.from(bytes))

/**
 * A choice that takes longer, in ms, and twice as long as the one before, which took twice as long as its own, is the last:
 * where a grammar can read what is there in several ways (`s ::= "-" s "a" | "-" s "b" | "-"`) each character multiplies
 * them, nobody can tell beforehand, and everybody waits.
 */
const longChoice = 250

/** @returns ms since then, as far as this process has run at all: it may have been stopped, or the machine */
function stopwatch(): () => number {
  const [start, used] = [performance.now(), process.cpuUsage()]
  return () => {
    const { user, system } = process.cpuUsage(used)
    return Math.min(performance.now() - start, (user + system) / 1000)
  }
}

/** Samples freely until a text has been written, and under the grammar from there on. */
function boundAfter(mark: string, free: TokenSampler, bound: TokenSampler, vocabulary: Vocabulary): TokenSampler {
  const decoder = new TextDecoder()
  let [written, seen] = ['', false]
  return {
    sample(context, row, logits) {
      if (seen) return bound.sample(context, row, logits)
      const token = free.sample(context, row, logits)
      if (token === null) return null
      written += decoder.decode(vocabulary.bytes(token, true), { stream: true })
      seen = written.includes(mark)
      written = written.slice(-mark.length)
      return token
    },
    // Both have the same chain.
    free: () => bound.free(),
  }
}

function parseGrammar(llama: Llama, vocab: Vocab, grammar: string): Sampler {
  const sampler = llama.grammar(vocab, grammar, 'root')
  if (sampler !== null) return sampler
  throw new OrielError('invalid', 'The grammar does not parse: it must be GBNF with a rule named root.', {
    param: 'response_format',
    code: 'invalid_grammar',
  })
}
