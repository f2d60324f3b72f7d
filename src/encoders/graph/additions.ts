import { badModel } from '../../errors.ts'
import { headerOf } from '../../gguf/index.ts'
import { addProduct, type Factors, scaleOf } from '../../low-rank.ts'
import type { Ggml } from '../../native/index.ts'
import type { Modality } from './source.ts'
import { type Additions, openTensors } from './tensor-file.ts'

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
    const scale = scaleOf(alpha, rank)
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
