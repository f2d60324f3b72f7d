import { type OnnxModel, type Place, wholeOf } from './onnx-file.ts'
import type { openOnnxRuntime } from './onnx-runtime.ts'
import type { WeightCache } from './weight-cache.ts'

export type OnnxRuntime = NonNullable<Awaited<ReturnType<typeof openOnnxRuntime>>>

export interface SessionSettings {
  /** Threads of a run. */
  threads: number
  /** Called with the share of the weights that is made, 0 to 1. */
  onProgress?: ((share: number) => void) | undefined
  /**
   * Whether weights of integers are copied into the order in which a product reads them, once for each product. Products of
   * integers take a sixth longer without it; those of floats do not.
   */
  packs?: boolean
  /** Whether it is for a few runs only: its weights are not kept for the next load, and its memory is not laid out ahead. */
  isBrief?: boolean
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
  { threads, onProgress = () => {}, isBrief = false, packs = false }: SessionSettings,
) {
  const constants = model.outside
  const options = (session: Readonly<Record<string, unknown>>) => ({
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3 as const,
    enableMemPattern: !isBrief,
    extra: { session: { intra_op: { allow_spinning: '0' }, disable_prepacking: packs ? '0' : '1', ...session } },
  })
  const file = cache?.place(constants, onProgress) ?? null
  if (file !== null)
    try {
      const places = new Map(constants.map(({ name }, index) => [name, file.places[index]]))
      const session = await InferenceSession.create(
        model.encode(({ name }) => ({ file: file.name, at: places.get(name) ?? 0 })),
        options({ model_external_initializers_file_folder_path: file.folder }),
      )
      if (isBrief) file.discard()
      else void file.settle()
      return session
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
