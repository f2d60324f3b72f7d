import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { parseHeader, readHeader } from '../../src/gguf/header.ts'
import { openNative } from '../../src/native/index.ts'
import { type TensorPlan, type Value, writeGguf } from '../support/gguf-file.ts'
import { libraryWith } from '../support/library.ts'
import { inputs } from '../support/long.ts'
import { mutate, seeded } from '../support/mutate.ts'
import { pocketFolder } from '../support/pocket.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-gguf-'))
})
afterAll(() => rm(folder, { recursive: true }))

const decoder: Record<string, Value> = {
  'general.architecture': { string: 'llama' },
  'general.name': { string: 'Tiny' },
  'llama.block_count': { u32: 1 },
  'llama.embedding_length': { u32: 64 },
  'llama.context_length': { u32: 128 },
  'llama.rope.freq_base': { f32: 10000 },
  'tokenizer.ggml.tokens': { strings: ['<s>', '</s>', 'red', 'circle'] },
  'tokenizer.ggml.token_type': { i32: [3, 3, 1, 1] },
  'tokenizer.ggml.add_bos_token': { bool: false },
}
const vision: Record<string, Value> = {
  'general.architecture': { string: 'clip' },
  'general.type': { string: 'mmproj' },
  'clip.projector_type': { string: 'idefics3' },
  'clip.has_vision_encoder': { bool: true },
  'clip.vision.projection_dim': { u32: 64 },
  'clip.vision.image_size': { u32: 32 },
}
const matrix = (name: string, ...shape: number[]): TensorPlan => ({ name, shape, fill: { deviation: 0.1 } })
const weights = [
  matrix('token_embd.weight', 64, 4),
  matrix('blk.0.attn_q.weight', 64, 64),
  matrix('output.weight', 64, 4),
]

const library = libraryWith()

/** Writes a GGUF file. @returns its path */
function gguf(name: string, metadata: Record<string, Value>, tensors: readonly TensorPlan[] = weights): string {
  const file = path.join(folder, name)
  writeGguf(file, metadata, tensors, 1)
  return file
}

describe('the header of a GGUF file', () => {
  it('has the metadata and the tensors', async () => {
    const header = await readHeader(gguf('whole.gguf', decoder))
    expect(header.metadata.get('general.name')).toBe('Tiny')
    expect(header.metadata.get('tokenizer.ggml.tokens')).toEqual({ length: 4 })
    expect(header.tensors.map(({ name, shape, type, bytes }) => [name, shape, type, bytes])).toEqual([
      ['token_embd.weight', [64, 4], 'Q8_0', 272],
      ['blk.0.attn_q.weight', [64, 64], 'Q8_0', 4352],
      ['output.weight', [64, 4], 'Q8_0', 272],
    ])
  })

  it('is of a file that is named without its path where there is none', async () => {
    const missing = readHeader(path.join(folder, 'missing.gguf'))
    await expect(missing).rejects.toMatchObject({ kind: 'not_found', code: 'model_not_found' })
    await expect(missing).rejects.toThrow(/^There is no file missing\.gguf\.$/)
  })

  it('is read in steps, between which others have their turns, however large its vocabulary is', async () => {
    const strings = Array.from({ length: 100_000 }, (_, at) => `token ${at}`)
    const file = path.join(folder, 'large.gguf')
    writeGguf(file, { ...decoder, 'tokenizer.ggml.tokens': { strings } }, weights, 1)
    let turns = 0
    const turn = (): void => {
      turns++
      timer = setImmediate(turn)
    }
    let timer = setImmediate(turn)
    const { metadata } = await readHeader(file)
    clearImmediate(timer)
    expect(metadata.get('tokenizer.ggml.tokens')).toEqual({ length: 100_000 })
    expect(turns).toBeGreaterThan(20)
  })

  it('is refused with the value found and the values allowed', async () => {
    const whole = await readFile(gguf('whole.gguf', decoder))
    const attempt = async (bytes: Buffer) => {
      await writeFile(path.join(folder, 'bad.gguf'), bytes)
      return readHeader(path.join(folder, 'bad.gguf'))
    }
    const changed = (change: (bytes: Buffer) => unknown): Promise<unknown> => {
      const bytes = Buffer.from(whole)
      change(bytes)
      return attempt(bytes)
    }
    const behind = (text: string) => whole.indexOf(text) + text.length
    /** Shape and offset of the second of the matrices. */
    const axes = behind('blk.0.attn_q.weight')
    await expect(attempt(Buffer.from('GGML, long ago'))).rejects.toThrow(
      'bad.gguf is not a valid GGUF file: it begins with "GGML" instead of GGUF.',
    )
    await expect(changed((bytes) => bytes.writeUInt32LE(1, 4))).rejects.toThrow(
      'its version is 1; versions 2 and 3 are supported',
    )
    await expect(changed((bytes) => bytes.writeBigUInt64LE(2n ** 60n, 8))).rejects.toThrow(
      /it declares \d+ tensors; at most 32768 are possible/,
    )
    await expect(changed((bytes) => bytes.writeBigUInt64LE(5000n, 16))).rejects.toThrow(
      /5000 metadata pairs; at most 4096/,
    )
    await expect(changed((bytes) => bytes.writeBigUInt64LE(2n ** 62n, 24))).rejects.toThrow(/bytes in a string/)
    await expect(changed((bytes) => bytes.writeUInt32LE(99, behind('general.name')))).rejects.toThrow(
      'its "general.name" has the unknown type 99',
    )
    await expect(changed((bytes) => bytes.writeUInt32LE(9, behind('tokenizer.ggml.token_type') + 4))).rejects.toThrow(
      'an array of arrays',
    )
    await expect(
      changed((bytes) => bytes.writeBigUInt64LE(2n ** 50n, behind('tokenizer.ggml.tokens') + 8)),
    ).rejects.toThrow(/elements of "tokenizer.ggml.tokens"/)
    await expect(
      changed((bytes) => bytes.write('general.architecture', whole.indexOf('llama.context_length'))),
    ).rejects.toThrow('its metadata has the key "general.architecture" twice')
    await expect(
      readHeader(gguf('twice.gguf', { 'tokenizer.ggml.tokens': { strings: ['a', 'b', 'a'] } })),
    ).rejects.toThrow('its vocabulary has the token "a" twice, again at 2')
    await expect(readHeader(gguf('numbers.gguf', { 'tokenizer.ggml.tokens': { i32: [1] } }))).rejects.toThrow(
      'not of strings',
    )
    await expect(changed((bytes) => bytes.writeUInt32LE(7, axes))).rejects.toThrow('has 7 axes; 4 are allowed')
    await expect(changed((bytes) => bytes.writeBigUInt64LE(0n, axes + 4))).rejects.toThrow('an axis of its tensor')
    await expect(changed((bytes) => bytes.writeBigUInt64LE(2n ** 40n, axes + 4))).rejects.toThrow('overlaps')
    await expect(changed((bytes) => bytes.writeBigUInt64LE(65n, axes + 4))).rejects.toThrow(
      'have 65 numbers; Q8_0 requires a multiple of 32',
    )
    await expect(changed((bytes) => bytes.writeUInt32LE(5, axes + 20))).rejects.toThrow('has the unknown type 5')
    await expect(changed((bytes) => bytes.writeBigUInt64LE(32n, axes + 24))).rejects.toThrow(
      'begins at byte 32 of the data and overlaps "token_embd.weight", which ends at 272',
    )
    await expect(changed((bytes) => bytes.writeBigUInt64LE(2n ** 63n, axes + 24))).rejects.toThrow('instead of 288')
  })

  it('is refused if it is truncated, with its size and the size needed', async () => {
    const file = gguf('cut.gguf', decoder)
    const whole = await readFile(file)
    await truncate(file, whole.length - 100)
    // Only the padding after the last tensor may be missing.
    await expect(readHeader(file)).rejects.toThrow(
      `it is truncated: it has ${whole.length - 100} bytes, and its tensors need ${whole.length - 16}`,
    )
    for (const length of [0, 3, 7, 15, 23, 24, 40, 200, 600]) {
      await writeFile(file, whole.subarray(0, length))
      await expect(readHeader(file)).rejects.toMatchObject({ kind: 'invalid', code: 'bad_model' })
    }
  })

  it('survives mutations without a crash, a hang or much memory, and ggml opens every header that is accepted', async () => {
    const { ggml } = openNative()
    const seeds = await Promise.all([
      readFile(gguf('seed.gguf', decoder)),
      readFile(gguf('mmproj-seed.gguf', vision, [matrix('mm.model.fc.weight', 64, 64)])),
      readFile(`${pocketFolder}mmproj-pocket.gguf`).then((bytes) => bytes.subarray(0, 12_000)),
    ])
    const random = seeded(20261121)
    const before = process.memoryUsage().rss
    const rounds = inputs(2000, 10_000)
    let [passed, slowest] = [0, 0]
    for (let round = 0; round < rounds; round++) {
      const seed = seeds[round % 10 === 9 ? 2 : round % 2] ?? Buffer.alloc(0)
      const bytes = mutate(seed, random)
      const before = process.cpuUsage()
      try {
        // The last seed is the beginning of a longer file.
        parseHeader(bytes, round % 10 === 9 ? 4_000_000 : bytes.length)
        passed++
        if (round % 10 === 9) continue
        const file = path.join(folder, 'mutated.gguf')
        await writeFile(file, bytes)
        const opened = ggml.openGguf(file)
        expect(opened, `round ${round}`).not.toBeNull()
        if (opened === null) continue
        ggml.freeGguf(opened.gguf)
        ggml.free(opened.context)
      } catch (error) {
        // `readHeader` explains a header that is longer than the file.
        const known = error instanceof OrielError ? error.kind : error instanceof Error && error.constructor.name
        expect(['invalid', 'HeaderEnds'], String(error)).toContain(known)
      }
      slowest = Math.max(slowest, process.cpuUsage(before).user)
    }
    expect(passed).toBeGreaterThan(rounds / 20)
    // Of CPU time, in microseconds.
    expect(slowest).toBeLessThan(1e6)
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6)
  }, 300_000)
})

describe('a decoder and a vision file', () => {
  const model = (metadata: Record<string, Value>) =>
    library.find(gguf('model.gguf', metadata), gguf('vision.gguf', vision, [matrix('mm.model.fc.weight', 64, 64)]))

  it('are served if they belong together', async () => {
    await expect(model(decoder)).resolves.toMatchObject({ id: 'model', contextTokens: 128 })
  })

  it('are refused by name if one is given as the other', async () => {
    await expect(model(vision)).rejects.toThrow('model.gguf is a vision file (mmproj), not a model.')
    await expect(library.find(gguf('model.gguf', decoder), gguf('vision.gguf', decoder))).rejects.toThrow(
      'vision.gguf is a model of the architecture "llama", not a vision file.',
    )
    await expect(model({ ...decoder, 'general.type': { string: 'adapter' } })).rejects.toThrow(
      'of type "adapter", not a model',
    )
  })

  it('are refused if the widths differ', async () => {
    await expect(model({ ...decoder, 'llama.embedding_length': { u32: 96 } })).rejects.toThrow(
      'vision.gguf does not belong to this model: its embeddings have 64 numbers, and the model requires 96.',
    )
  })

  it('are refused if the numbers of deepstack layers differ', async () => {
    const qwen = { ...vision, 'clip.projector_type': { string: 'qwen3vl_merger' } }
    const tensorsOf = (layers: number) => [
      { name: 'mm.2.bias', shape: [64], fill: { constant: 0 } },
      ...Array.from({ length: layers }, (_, layer) => matrix(`v.deepstack.${layer}.fc2.weight`, 64, 64)),
    ]
    const deepstack = { ...decoder, 'llama.n_deepstack_layers': { u32: 3 } }
    const mapped = { ...decoder, 'llama.deepstack_mapping': { i32: [-1, 2, -1, 3, 1] } }
    for (const metadata of [deepstack, mapped]) {
      const pair = (layers: number) =>
        library.find(gguf('model.gguf', metadata), gguf('vision.gguf', qwen, tensorsOf(layers)))
      await expect(pair(3)).resolves.toMatchObject({ id: 'model' })
      await expect(pair(2)).rejects.toThrow('its embeddings have 192 numbers, and the model requires 256')
    }
  })

  it('are refused if llama.cpp does not run the decoder', async () => {
    await expect(model({ ...decoder, 'general.architecture': { string: 'qwen9vl' } })).rejects.toMatchObject({
      code: 'unsupported_model',
      message: expect.stringMatching(/^model.gguf has the architecture "qwen9vl", which is not supported/),
    })
    await expect(model({ ...decoder, 'llama.block_count': { u32: 100_000 } })).rejects.toThrow(
      'model.gguf has 100000 for llama.block_count; 1 to 512 is allowed',
    )
    // Read as an int32, this is -1.
    await expect(model({ ...decoder, 'llama.context_length': { u32: 2 ** 32 - 1 } })).rejects.toThrow(
      'model.gguf has 4294967295 for llama.context_length; 1 to 2147483647 is allowed',
    )
    await expect(library.find(gguf('model.gguf', decoder, []))).rejects.toThrow('model.gguf has no weights')
  })
})
