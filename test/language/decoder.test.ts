import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { decoderOf, width } from '../encoders/oracle/decoder.ts'
import { openSmall } from '../support/decoder.ts'
import { type TensorPlan, writeGguf } from '../support/gguf-file.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-decoder-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = path.join(folder, 'model.gguf')

const open = () => openSmall(file)

it('refuses a model without a vocabulary', () => {
  const { metadata, tensors } = decoderOf({ specials: [] })
  const kept = Object.entries(metadata).filter(([key]) => !key.startsWith('tokenizer.'))
  writeGguf(file, { ...Object.fromEntries(kept), 'tokenizer.ggml.model': { string: 'no_vocab' } }, tensors, 1)
  expect(open).toThrow(/has no vocabulary/)
})

it('refuses a model that produces embeddings', () => {
  const { metadata, tensors } = decoderOf({ specials: [], architecture: 'bert' })
  const embedding = tensors.filter(({ name }) => name === 'token_embd.weight')
  const tensor = (name: string, shape: number[]): TensorPlan => ({ name, shape, fill: { constant: 1 } })
  const linear = (name: string, inputs: number, outputs: number) => [
    tensor(`${name}.weight`, [inputs, outputs]),
    tensor(`${name}.bias`, [outputs]),
  ]
  const norm = (name: string) => [tensor(`${name}.weight`, [width]), tensor(`${name}.bias`, [width])]
  const bert = {
    ...metadata,
    'bert.attention.layer_norm_epsilon': { f32: 1e-5 },
    'bert.attention.causal': { bool: false },
    'tokenizer.ggml.token_type_count': { u32: 2 },
  }
  const attention = ['attn_q', 'attn_k', 'attn_v', 'attn_output'].flatMap((name) =>
    linear(`blk.0.${name}`, width, width),
  )
  writeGguf(
    file,
    bert,
    [
      ...embedding,
      tensor('token_types.weight', [width, 2]),
      tensor('position_embd.weight', [width, 8192]),
      ...norm('token_embd_norm'),
      ...attention,
      ...norm('blk.0.attn_output_norm'),
      ...linear('blk.0.ffn_up', width, 64),
      ...linear('blk.0.ffn_down', 64, width),
      ...norm('blk.0.layer_output_norm'),
    ],
    1,
  )
  expect(open).toThrow(/produces embeddings of texts/)
})
