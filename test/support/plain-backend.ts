import type { Ask, Backend, Count } from '../../src/app.ts'

/**
 * A backend without tokens and pixels, as one for another server would be: it describes the request, and counts each word
 * as a token.
 */
export function plainBackend(id = 'plain'): Backend {
  return {
    info: {
      id,
      aliases: [`accounts/oriel/models/${id}`],
      title: 'Plain',
      description: 'Describes what it is asked',
      created: 0,
      contextTokens: 1000,
      inputs: ['image'],
      tools: true,
      thoughts: false,
      boxes: false,
    },
    async answer(ask, signal) {
      signal.throwIfAborted()
      const { n, maxTokens } = ask.settings
      const words = reply(ask).split(/(?<= )/)
      const shown = words.slice(0, maxTokens ?? words.length)
      const reason = shown.length < words.length ? 'length' : 'stop'
      return {
        usage: { promptTokens: wordsOf(ask).length, cachedTokens: 0, imageTokens: ask.attachments.map(() => 0) },
        sampling: neutral,
        media: { fetch: 0, decode: 0, media: 0 },
        prompt: null,
        events: (async function* () {
          for (let choice = 0; choice < n; choice++) {
            for (const [before, text] of shown.entries()) {
              const pieces = [{ kind: 'text' as const, text }]
              yield { type: 'part', choice, completionTokens: before + 1, raw: text, tokens: [], pieces }
            }
            yield { type: 'end', choice, reason, stop: null, completionTokens: shown.length, reasoningTokens: 0 }
          }
          const completionTokens = n * shown.length
          yield { type: 'done', tally: { completionTokens, reasoningTokens: 0, timings: atOnce } }
        })(),
      }
    },
    count: async (ask): Promise<Count> => ({
      promptTokens: wordsOf(ask).length,
      imageTokens: ask.attachments.map(() => 0),
      tokens: [],
      parts: async () => [{ kind: 'text', tokens: wordsOf(ask).length }],
    }),
    state: async () => ({ running: 0, waiting: 0 }),
    close: async () => {},
  }
}

const contentOf = ({ prompt }: Ask) =>
  prompt.kind === 'chat' ? prompt.messages.flatMap(({ content }) => content) : prompt.parts

const wordsOf = (ask: Ask): string[] =>
  contentOf(ask).flatMap((part) => (part.kind === 'text' ? part.text.split(/\s+/).filter((word) => word !== '') : []))

const reply = (ask: Ask): string =>
  `You asked "${wordsOf(ask).join(' ')}" about ${ask.attachments.length} images with ${toolsOf(ask)} tools.`

const toolsOf = ({ prompt }: Ask): number => (prompt.kind === 'chat' ? prompt.tools.length : 0)

const atOnce = { queue: 0, encode: 0, prefill: 0, firstToken: 0, generation: 0 }

const neutral = {
  ...{ temperature: 1, topP: 1, topK: 0, minP: 0, typicalP: 1, mirostat: null, repetitionPenalty: 1 },
  ...{ frequencyPenalty: 0, presencePenalty: 0, seed: null, logitBias: [], grammar: null },
}
