import type { TensorPlan, Value } from '../test/support/gguf-file.ts'

/** ChatML with the image placeholder of llama-server. */
const chatTemplate =
  "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}" +
  "{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% elif p['type'] in ['image', 'image_url'] %}" +
  '<__media__>{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'

/** The number of byte tokens. */
const byteTokens = 256

/**
 * `specials`, the bytes, two line ends, and generated words that each begin with a space. Text of such words is tokenized
 * into the same tokens again, so an answer is a prefix of the prompt of the next turn, as with a real model.
 */
function vocabulary(specials: readonly string[], size: number): { tokens: string[]; merges: string[] } {
  const bytes = byteAlphabet()
  // Two line ends follow the tiles of every image.
  const tokens = [...specials, ...bytes, 'ĊĊ']
  const merges = ['Ċ Ċ']
  let words = [bytes[32] as string]
  while (tokens.length < size) {
    const longer: string[] = []
    for (const word of words)
      for (const letter of 'etaoinshrdlcumwfgypbvkjxqz') {
        if (tokens.length === size) break
        longer.push(word + letter)
        tokens.push(word + letter)
        merges.push(`${word} ${letter}`)
      }
    words = longer
  }
  return { tokens, merges }
}

/** Metadata of the tokenizer and the chat template. @param pre llama.cpp's name of the pre-tokenizer */
export function tokenizer(specials: readonly string[], size: number, pre: string): Record<string, Value> {
  const { tokens, merges } = vocabulary(specials, size)
  return {
    'tokenizer.ggml.model': { string: 'gpt2' },
    'tokenizer.ggml.pre': { string: pre },
    'tokenizer.ggml.tokens': { strings: tokens },
    'tokenizer.ggml.token_type': { i32: tokens.map((_, id) => (id < specials.length ? 3 : 1)) },
    'tokenizer.ggml.merges': { strings: merges },
    'tokenizer.ggml.bos_token_id': { u32: 0 },
    'tokenizer.ggml.eos_token_id': { u32: 2 },
    'tokenizer.ggml.padding_token_id': { u32: 0 },
    'tokenizer.ggml.add_bos_token': { bool: false },
    'tokenizer.chat_template': { string: chatTemplate },
  }
}

/** GPT-2's printable character for each byte. */
export function byteAlphabet(): string[] {
  let next = 256
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  return Array.from({ length: byteTokens }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++))
}

export const zeros = (name: string, width: number): TensorPlan => ({ name, shape: [width], fill: { constant: 0 } })

export const ones = (name: string, width: number): TensorPlan => ({ name, shape: [width], fill: { constant: 1 } })

/** The deviation keeps values about as large from layer to layer. */
export const matrix = (name: string, inputs: number, outputs: number): TensorPlan => ({
  name,
  shape: [inputs, outputs],
  fill: { deviation: 0.7 / Math.sqrt(inputs) },
})

/** `name.weight` and `name.bias` of a matrix. */
export const linear = (name: string, inputs: number, outputs: number): TensorPlan[] => [
  matrix(`${name}.weight`, inputs, outputs),
  zeros(`${name}.bias`, outputs),
]

/** `name.weight` and `name.bias` of a layer norm. */
export const norm = (name: string, width: number): TensorPlan[] => [
  ones(`${name}.weight`, width),
  zeros(`${name}.bias`, width),
]

/** Byte and control tokens have small embeddings, so that greedy answers consist of words. */
export const tokenEmbeddings = (
  width: number,
  tokens: number,
  specials: readonly string[],
  deviation: number,
): TensorPlan => ({
  name: 'token_embd.weight',
  shape: [width, tokens],
  fill: { deviation, smallRows: specials.length + byteTokens + 1 },
})

export const each = (layers: number, of: (layer: number) => TensorPlan[]): TensorPlan[] =>
  Array.from({ length: layers }, (_, layer) => of(layer)).flat()
