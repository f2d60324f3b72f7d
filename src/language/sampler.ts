import { Candidates, type Llama, type LlamaContext, type Sampler, type Vocab } from '../native/index.ts'
import { refused } from './grammar/gbnf.ts'
import type { Vocabulary } from './vocabulary.ts'

/** How the next token is sampled from the logits. */
export interface SamplerSettings {
  /** 0 is greedy. */
  temperature: number
  topP: number
  /** 0: no limit. */
  topK: number
  minP: number
  typicalP: number
  /** Keeps the perplexity near a target, instead of top-k, top-p, min-p and typical-p; null: off. */
  mirostat: { target: number; rate: number } | null
  repetitionPenalty: number
  frequencyPenalty: number
  presencePenalty: number
  /** null: a random one. */
  seed: number | null
  logitBias: readonly { token: number; bias: number }[]
  /** GBNF with a rule named root; null: none. */
  grammar: string | null
  /** The grammar applies after this text; without it, from the start of the answer. */
  grammarAfter?: string
}

/** Number of recent tokens that the penalties apply to, as in llama.cpp's tools. */
const penaltyWindow = 64

/** Below this temperature the scaled logits exceed 32-bit floats, and llama.cpp would choose the last token. */
const coldest = 1e-6

/** Samples the tokens of one answer with llama.cpp's samplers in their usual order. */
export interface TokenSampler {
  /**
   * @param row of the last decoded batch
   * @param logits of that row `[vocabulary]`
   * @returns null if the grammar and the biases allow no token
   * @throws OrielError `invalid`, param `grammar`, for a grammar that is too slow to follow
   */
  sample(context: LlamaContext, row: number, logits: () => Float32Array): number | null
  free(): void
}

/** @throws OrielError `invalid`, param `grammar`, for a grammar that cannot be parsed */
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
 * Samples under a grammar. The grammar is not in the chain: when it allows no token, the chain would choose one
 * anyway, and the grammar ends the process when it is given a token that it does not allow.
 */
function boundSampler(llama: Llama, vocab: Vocab, chain: Sampler, grammar: Sampler, vocabulary: Vocabulary) {
  const candidates = new Candidates(llama.vocabSize(vocab))
  /** The last bytes of the answer, as many as an incomplete character may have. */
  let tail = Buffer.alloc(0)
  /** Durations of the last two choices, in ms. */
  let choices: number[] = []
  const choose = (): number | null => {
    llama.samplerApply(chain, candidates.pointer)
    return candidates.selected
  }
  /**
   * Samples without the grammar and checks the result: to check one token takes microseconds, and to check 150,000 takes
   * about 30 ms, during which every answer waits. A token that is not allowed is sampled again from the allowed ones, which
   * leaves their probabilities as they are, except that top_p and the like cut among all tokens. llama.cpp's tools do the
   * same.
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
    sample(_context: LlamaContext, _row: number, logits: () => Float32Array) {
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
        throw refused('is too ambiguous: the answer so far matches it in too many ways')
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

/** Overlong encodings of U+0000: llama.cpp allows them everywhere and can follow them nowhere, which ends the process. */
const zeros = [
  [0xc0, 0x80],
  [0xe0, 0x80, 0x80],
  [0xf0, 0x80, 0x80, 0x80],
].map((bytes) => Buffer.from(bytes))

/**
 * A choice that takes longer than this, in ms, and twice as long as the one before, which also took twice as long as its
 * own, ends the answer. In an ambiguous grammar (`s ::= "-" s "a" | "-" s "b" | "-"`) each character multiplies the ways to
 * match, which cannot be known beforehand, and every answer waits.
 */
const longChoice = 250

/** @returns the ms since the call during which this process was running: it or the machine may have been suspended */
function stopwatch(): () => number {
  const [start, used] = [performance.now(), process.cpuUsage()]
  return () => {
    const { user, system } = process.cpuUsage(used)
    return Math.min(performance.now() - start, (user + system) / 1000)
  }
}

/** Samples without the grammar until the answer contains a text, and under the grammar after it. */
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
    // Both use the same chain.
    free: () => bound.free(),
  }
}

function parseGrammar(llama: Llama, vocab: Vocab, grammar: string): Sampler {
  const sampler = llama.grammar(vocab, grammar, 'root')
  if (sampler !== null) return sampler
  throw refused('cannot be parsed. It must be GBNF with a rule named root')
}
