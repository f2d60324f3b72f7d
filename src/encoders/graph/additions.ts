import { badModel } from '../../errors.ts'
import { headerOf } from '../../gguf/index.ts'
import type { Ggml } from '../../native/index.ts'
import type { Modality } from './source.ts'
import { type Additions, openTensors, type Rows } from './tensor-file.ts'

/** The two factors of an addition: `[rank, columns]`, and `[rows, rank]` times the scale. */
interface Factors {
  readonly a: Float32Array
  readonly b: Float32Array
  readonly rank: number
}

/**
 * Reads the matrices of an adapter into memory, which they take little of.
 * @param file GGUF of `TENSOR.lora_a` and `TENSOR.lora_b`
 * @throws OrielError `invalid` if it is no such file
 */
export async function readAdditions(ggml: Ggml, file: string, modality: Modality): Promise<Additions> {
  // Before native code opens the file.
  const { metadata } = await headerOf(file)
  const alpha = metadata.get('adapter.lora.alpha')
  const tensors = openTensors(ggml, file, modality)
  const all = new Map<string, Factors>()
  for (const name of tensors.names) {
    if (!name.endsWith('.lora_b')) continue
    const matrix = name.slice(0, -'.lora_b'.length)
    const [{ columns: rank }, a] = [tensors.shape(name), tensors.shape(`${matrix}.lora_a`)]
    if (a.rows !== rank) throw badModel(`The halves of ${matrix} in the adapter have different ranks.`)
    // As in llama.cpp, where an adapter without alpha is not scaled.
    const scale = typeof alpha === 'number' && alpha !== 0 ? alpha / rank : 1
    const b = tensors.floats(name).map((value) => value * scale)
    all.set(matrix, { a: tensors.floats(`${matrix}.lora_a`), b, rank })
  }
  tensors.close()
  ggml.free(tensors.context)
  const need = (name: string): Factors => {
    const factors = all.get(name)
    if (factors === undefined) throw new Error(`an adapter that adds nothing to ${name}`)
    return factors
  }
  return {
    names: new Set(all.keys()),
    shape(name) {
      const { a, b, rank } = need(name)
      return { rows: b.length / rank, columns: a.length / rank }
    },
    addTo(name, rows) {
      const factors = all.get(name)
      if (factors !== undefined) addProduct(factors, rows)
    },
  }
}

/** Four ranks at a time: a row is read and written as rarely. */
function addProduct({ a, b, rank }: Factors, { from, count, values }: Rows): void {
  const columns = a.length / rank
  const at = (row: number, term: number): number => (term < rank ? (b[(from + row) * rank + term] as number) : 0)
  for (let row = 0; row < count; row++)
    for (let term = 0; term < rank; term += 4) {
      const [one, two, three, four] = [at(row, term), at(row, term + 1), at(row, term + 2), at(row, term + 3)]
      const first = term * columns
      // What is beyond the last rank is multiplied by 0, and may be any of the numbers.
      const second = term + 1 < rank ? first + columns : first
      const third = term + 2 < rank ? second + columns : first
      const fourth = term + 3 < rank ? third + columns : first
      const start = row * columns
      for (let column = 0; column < columns; column++)
        values[start + column] =
          (values[start + column] as number) +
          one * (a[first + column] as number) +
          two * (a[second + column] as number) +
          three * (a[third + column] as number) +
          four * (a[fourth + column] as number)
    }
}
