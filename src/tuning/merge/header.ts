import { badModel } from '../../errors.ts'
import { openNative } from '../../native/index.ts'

/** What a merged file says before its tensors. */
export interface HeaderPlan {
  /** The files of the base, the pairs of the first of which it has, and their tensors. */
  readonly base: readonly {
    readonly file: string
    readonly tensors: readonly { readonly name: string; readonly type: number }[]
  }[]
  /** `general.file_type`, if it is another. */
  readonly fileType: number | null
}

/** One file, in which tensors begin where readers assume it of files that do not say. */
const otherKeys = ['general.alignment', 'split.no', 'split.count', 'split.tensors.count']

/** @returns the bytes up to the first tensor @throws OrielError `invalid` for a file that ggml cannot read */
export function headerOfMerged({ base, fileType }: HeaderPlan): Uint8Array {
  const { ggml, ggufFiles } = openNative()
  const merged = ggufFiles.empty()
  for (const [part, { file, tensors }] of base.entries()) {
    const opened = ggml.openGguf(file)
    if (opened === null) throw badModel('The file of the model is not a valid GGUF file.')
    if (part === 0) ggufFiles.setKv(merged, opened.gguf)
    for (const { name, type } of tensors) {
      const tensor = ggml.findTensor(opened.context, name)
      if (tensor === null) throw badModel(`The file of the model has no tensor ${name}.`)
      ggufFiles.addTensor(merged, tensor)
      ggufFiles.setTensorType(merged, name, type)
    }
    ggml.freeGguf(opened.gguf)
    ggml.free(opened.context)
  }
  for (const key of otherKeys) ggufFiles.removeKey(merged, key)
  if (fileType !== null) ggufFiles.setU32(merged, 'general.file_type', fileType)
  return ggufFiles.metaData(merged)
}
