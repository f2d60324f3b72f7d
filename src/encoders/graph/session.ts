import { type OnnxModel, type Place, wholeOf } from './onnx-file.ts'
import type { openOnnxRuntime } from './onnx-runtime.ts'
import type { WeightCache } from './weight-cache.ts'

type OnnxRuntime = NonNullable<Awaited<ReturnType<typeof openOnnxRuntime>>>

export interface SessionSettings {
  /** Threads of a run. */
  threads: number
  /** Called with the share of the weights that is made, 0 to 1. */
  onProgress: (share: number) => void
}

/**
 * A session of ONNX Runtime. If the cache has the weights, or can have them, their file is mapped into memory: nothing is
 * copied, and the system may take back what is not in use. Otherwise the weights are made in memory, and ONNX Runtime
 * copies them.
 */
export async function openSession(
  { InferenceSession }: OnnxRuntime,
  model: OnnxModel,
  cache: WeightCache | null,
  { threads, onProgress }: SessionSettings,
) {
  const constants = model.outside
  // Packed weights are copies. Products of floats are as fast without them, those of integers take a sixth longer.
  const packs = constants.some(({ type }) => type === 'i8')
  const options = (session: Readonly<Record<string, unknown>>) => ({
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3 as const,
    extra: { session: { intra_op: { allow_spinning: '0' }, ...session } },
  })
  const file = cache?.place(constants, onProgress) ?? null
  if (file !== null)
    try {
      const places = new Map(constants.map(({ name }, index) => [name, file.places[index]]))
      return await InferenceSession.create(
        model.encode(({ name }) => ({ file: file.name, at: places.get(name) ?? 0 })),
        options({ model_external_initializers_file_folder_path: file.folder, disable_prepacking: packs ? '0' : '1' }),
      )
    } catch {
      // Another process has removed it, or it cannot be mapped.
      file.discard()
    }
  const names = new Map(constants.map(({ name }, index) => [name, `c${index}`]))
  return InferenceSession.create(
    model.encode(({ name }): Place => ({ file: names.get(name) ?? '', at: 0 })),
    {
      ...options({}),
      externalData: constants.map((constant) => ({ path: names.get(constant.name) ?? '', data: wholeOf(constant) })),
    },
  )
}
