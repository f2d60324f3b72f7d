import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { needImageArchitecture } from '../../src/encoders/index.ts'
import { PromptLayout } from '../../src/engine/prompt-cells.ts'
import { finished } from '../../src/slices.ts'
import { decoderOf } from '../encoders/oracle/decoder.ts'
import { minicpmv4 } from '../encoders/oracle/families/minicpmv.ts'
import { openSmall } from '../support/decoder.ts'
import { writeGguf } from '../support/gguf-file.ts'
import { pixels } from '../support/pixels.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cells-'))
afterAll(() => rmSync(folder, { recursive: true }))

const specials = ['<unk>', '<s>', '</s>', '<image>', '</image>', '<slice>', '</slice>']
const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
const tokens = [...specials, ...bytes, '▁', 'a', '▁a']
/** `enum llama_token_type` */
const typeOf = (id: number): number => {
  if (id === 0) return 2
  return id < specials.length ? 3 : id < specials.length + bytes.length ? 6 : 1
}

/** A model of MiniCPM-V's family whose vocabulary is SentencePiece's, which begins every text with a space. */
function write(decoder: string, projector: string): void {
  minicpmv4.write(decoder, projector)
  const { metadata, tensors } = decoderOf({
    width: 128,
    specials: [],
    metadata: {
      'llama.vocab_size': { u32: tokens.length },
      'tokenizer.ggml.model': { string: 'llama' },
      'tokenizer.ggml.pre': { string: 'default' },
      'tokenizer.ggml.tokens': { strings: tokens },
      'tokenizer.ggml.scores': { f32: tokens.map((_, id) => -id) },
      'tokenizer.ggml.token_type': { i32: tokens.map((_, id) => typeOf(id)) },
      'tokenizer.ggml.bos_token_id': { u32: 1 },
    },
  })
  const wide = { name: 'token_embd.weight', shape: [128, tokens.length] }
  const sized = tensors.map((tensor) => (tensor.name === wide.name ? { ...tensor, ...wide } : tensor))
  writeGguf(decoder, metadata, sized, 1)
}

it('puts no space between the rows of an image if the vocabulary puts one before all text', async () => {
  const [file, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  write(file, projector)
  const decoder = openSmall(file)
  const text = { kind: 'text', text: 'a', special: true } as const
  const image = {
    kind: 'image',
    hash: 'h',
    width: 140,
    height: 140,
    detail: 'high',
    pixels: pixels(new Uint8Array()),
  } as const
  const architectures = { images: await needImageArchitecture(projector), audio: null }
  const { cells, attachmentTokens } = finished(new PromptLayout(decoder, architectures).layout([text, image, text]))
  const shown = [...cells].flatMap((id, at) => (id >= 0 ? [tokens[id]] : (cells[at - 1] ?? 0) >= 0 ? ['#'] : []))
  const row = '<slice> # </slice> <slice> # </slice>'
  expect(shown.join(' ')).toBe(`▁a <image> # </image> ${row} <0x0A> ${row} ▁a`)
  expect(attachmentTokens).toEqual([cells.length - 2])
  decoder.close()
})
