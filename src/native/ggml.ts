import { readdirSync } from 'node:fs'
import path from 'node:path'
import koffi from 'koffi'
import { badModel } from '../errors.ts'
import { functionsOf, type Pointer } from './function.ts'
import { type Libraries, libraryAmong } from './libraries.ts'
import { ggmlInitParams, ggufInitParams } from './structs.ts'

/** ggml's own numbers for element types (`enum ggml_type`). */
export const TensorType = { F32: 0, F16: 1, Q8_0: 8, I32: 26, BF16: 30 } as const

export type Tensor = Pointer & { readonly tensor: unique symbol }
export type Context = Pointer & { readonly context: unique symbol }
export type Graph = Pointer & { readonly graph: unique symbol }
export type Backend = Pointer & { readonly backend: unique symbol }
export type GraphScheduler = Pointer & { readonly graphScheduler: unique symbol }
export type Gguf = Pointer & { readonly gguf: unique symbol }

/** Bytes before `to_float` in `struct ggml_type_traits`: a name, two block sizes, the type's size, and a flag, padded. */
const toFloatOffset = 40

/** Bytes before `ne` in `struct ggml_tensor`: its type (an enum, padded) and its buffer's address. */
const shapeOffset = 16

/** `enum ggml_backend_dev_type` */
const deviceTypes = { gpu: 1, integrated: 2 } as const

type DevicePointer = Pointer & { readonly device: unique symbol }

export interface Gpu {
  /** `NVIDIA GeForce RTX 4090` */
  name: string
  /** Whether it shares the machine's memory. */
  integrated: boolean
  /** Bytes. */
  freeMemory: number
}

/** An operation on a tensor, and its other arguments. */
type Op<Others extends readonly unknown[] = []> = (context: Context, a: Tensor, ...others: Others) => Tensor
type Op2 = Op<[b: Tensor]>
type N = number
type Both = [x: N, y: N]
type RopeScaling = [mode: N, original: N, base: N, scale: N, extra: N, attention: N, fast: N, slow: N]

/**
 * The part of ggml and gguf that a vision graph needs. Names are ggml's own without their prefix. Shapes are ggml's:
 * the first number is the fastest one, so `[width, tokens]` is `tokens` rows of `width` numbers.
 */
export type Ggml = ReturnType<typeof bindGgml>

export function bindGgml({ ggmlBase, ggml, folder, fallback }: Libraries) {
  const [base, loader] = [functionsOf(ggmlBase), functionsOf(ggml)]
  const registered = loader<() => number | bigint>('size_t ggml_backend_reg_count()')
  // The threads of a process share the back ends, and ggml's list of them must not grow while another thread reads it.
  const isFirst = Number(registered()) === 0
  if (isFirst) loader<(folder: string) => void>('void ggml_backend_load_all_from_path(const char*)')(folder)
  const deviceCount = loader<() => number | bigint>('size_t ggml_backend_dev_count()')
  const deviceAt = loader<(index: number) => DevicePointer>('void* ggml_backend_dev_get(size_t)')
  const deviceType = base<(device: DevicePointer) => number>('int ggml_backend_dev_type(void*)')
  const deviceText = base<(device: DevicePointer) => string>('const char* ggml_backend_dev_description(void*)')
  const deviceMemory = base<(device: DevicePointer, free: BigUint64Array, total: BigUint64Array) => void>(
    'void ggml_backend_dev_memory(void*, void*, void*)',
  )
  const initDevice = base<(device: DevicePointer, params: null) => Backend | null>(
    'void* ggml_backend_dev_init(void*, const char*)',
  )
  const devicesOf = (type: number): DevicePointer[] =>
    Array.from({ length: Number(deviceCount()) }, (_, index) => deviceAt(index)).filter(
      (device) => deviceType(device) === type,
    )
  /** Like llama.cpp: GPUs with memory of their own, or else the first integrated one. */
  const gpuDevices = (): DevicePointer[] => {
    const own = devicesOf(deviceTypes.gpu)
    return own.length > 0 ? own : devicesOf(deviceTypes.integrated).slice(0, 1)
  }
  if (isFirst && fallback !== null && gpuDevices().length === 0) {
    const file = libraryAmong(readdirSync(fallback), 'ggml-cuda')
    const loadBackend = loader<(file: string) => Pointer | null>('void* ggml_backend_load(const char*)')
    if (file !== undefined) loadBackend(path.join(fallback, file))
  }
  const initGguf = ggmlBase.func('gguf_init_from_file', 'void*', ['const char*', ggufInitParams])
  const initContext = ggmlBase.func('ggml_init', 'void*', [ggmlInitParams])
  const tensorSet = 'void ggml_backend_tensor_set(void*, const void*, size_t, size_t)'
  const getTensor = base<(tensor: Tensor, data: ArrayBufferView, offset: number, bytes: number) => void>(
    'void ggml_backend_tensor_get(void*, void*, size_t, size_t)',
  )
  const elementCount = base<(tensor: Tensor) => number>('int64 ggml_nelements(void*)')
  const tensorBytes = base<(tensor: Tensor) => number | bigint>('size_t ggml_nbytes(void*)')
  const typeTraits = base<(type: number) => Pointer>('const void* ggml_get_type_traits(int)')
  const toFloat = koffi.proto('void(const void*, void*, int64)')
  const getDevice = base<(backend: Backend) => Pointer>('void* ggml_backend_get_device(void*)')
  const getRegistry = base<(device: Pointer) => Pointer>('void* ggml_backend_dev_backend_reg(void*)')
  const getProcedure = base<(registry: Pointer, name: string) => Pointer | null>(
    'void* ggml_backend_reg_get_proc_address(void*, const char*)',
  )
  const overhead = Number(ggmlBase.func('size_t ggml_tensor_overhead()')())
  const graphOverhead = base<(nodes: number, gradients: boolean) => number | bigint>(
    'size_t ggml_graph_overhead_custom(size_t, bool)',
  )
  type NewScheduler = (all: BigUint64Array, types: null, n: N, nodes: N, ...on: [boolean, boolean]) => GraphScheduler
  const newScheduler = base<NewScheduler>('void* ggml_backend_sched_new(void*, void*, int, size_t, bool, bool)')
  const quantizeChunk = base<
    (type: N, rows: Float32Array, into: Uint8Array, from: N, count: N, columns: N, weights: null) => number | bigint
  >('size_t ggml_quantize_chunk(int, const void*, void*, int64, int64, int64, void*)')
  const reserveSize = base<(scheduler: GraphScheduler, graph: Graph, sizes: BigUint64Array) => void>(
    'void ggml_backend_sched_reserve_size(void*, void*, void*)',
  )
  const threadSetter = koffi.proto('void(void*, int)')

  /** @throws OrielError `invalid` for a type that does not represent fractions */
  const floatsOf = (type: number, raw: Uint8Array, count: number, into?: Float32Array): Float32Array => {
    if (type === TensorType.F32) return new Float32Array(raw.buffer, raw.byteOffset, count)
    const conversion: Pointer | null = koffi.decode(typeTraits(type), toFloatOffset, 'void*')
    if (conversion === null)
      throw badModel(`A tensor has the element type ${type} of ggml, which does not represent fractions.`)
    const out = into?.subarray(0, count) ?? new Float32Array(count)
    koffi.call(conversion, toFloat, raw, out, count)
    return out
  }
  const convert = (tensor: Tensor, raw: Uint8Array, count: number, into?: Float32Array): Float32Array =>
    floatsOf(koffi.decode(tensor, 'int32'), raw, count, into)

  return {
    /** A context for the descriptions of `tensors` tensors and one graph of as many nodes. Their data is elsewhere. */
    init: (tensors: number): Context =>
      initContext({
        mem_size: overhead * tensors + Number(graphOverhead(tensors, false)),
        mem_buffer: null,
        no_alloc: true,
      }),
    free: base<(context: Context) => void>('void ggml_free(void*)'),

    newTensor4d: base<(context: Context, type: N, a: N, b: N, c: N, d: N) => Tensor>(
      'void* ggml_new_tensor_4d(void*, int, int64, int64, int64, int64)',
    ),
    setInput: base<(tensor: Tensor) => void>('void ggml_set_input(void*)'),
    setOutput: base<(tensor: Tensor) => void>('void ggml_set_output(void*)'),
    newGraph: base<(context: Context, nodes: N, gradients: boolean) => Graph>(
      'void* ggml_new_graph_custom(void*, size_t, bool)',
    ),
    buildForwardExpand: base<(graph: Graph, tensor: Tensor) => void>('void ggml_build_forward_expand(void*, void*)'),

    mulMat: base<Op2>('void* ggml_mul_mat(void*, void*, void*)'),
    add: base<Op2>('void* ggml_add(void*, void*, void*)'),
    sub: base<Op2>('void* ggml_sub(void*, void*, void*)'),
    mul: base<Op2>('void* ggml_mul(void*, void*, void*)'),
    scale: base<Op<[factor: N]>>('void* ggml_scale(void*, void*, float)'),
    clamp: base<Op<[least: N, most: N]>>('void* ggml_clamp(void*, void*, float, float)'),
    rmsNorm: base<Op<[epsilon: N]>>('void* ggml_rms_norm(void*, void*, float)'),
    norm: base<Op<[epsilon: N]>>('void* ggml_norm(void*, void*, float)'),
    gelu: base<Op>('void* ggml_gelu(void*, void*)'),
    geluErf: base<Op>('void* ggml_gelu_erf(void*, void*)'),
    silu: base<Op>('void* ggml_silu(void*, void*)'),
    geluQuick: base<Op>('void* ggml_gelu_quick(void*, void*)'),
    swigluSplit: base<Op2>('void* ggml_swiglu_split(void*, void*, void*)'),
    gegluSplit: base<Op2>('void* ggml_geglu_split(void*, void*, void*)'),
    /** @param factors `[dims / 2]`, by which the frequencies are divided */
    ropeExt: base<Op<[positions: Tensor, factors: Tensor | null, dims: N, ...scaling: RopeScaling]>>(
      'void* ggml_rope_ext(void*, void*, void*, void*, int, int, int, float, float, float, float, float, float)',
    ),
    ropeMulti: base<Op<[positions: Tensor, factors: null, dims: N, sections: Int32Array, ...scaling: RopeScaling]>>(
      'void* ggml_rope_multi(void*, void*, void*, void*, int, const int*, int, int, float, float, float, float, float, float)',
    ),
    softMaxExt: base<Op<[mask: Tensor | null, scale: N, bias: N]>>(
      'void* ggml_soft_max_ext(void*, void*, void*, float, float)',
    ),
    /** For each head a score more in the sum of the softmax. */
    addSinks: base<(scores: Tensor, sinks: Tensor) => void>('void ggml_soft_max_add_sinks(void*, void*)'),
    /** Keys and values in 16 bits. The scores are never in memory all at once. */
    flashAttention: base<
      (context: Context, q: Tensor, k: Tensor, v: Tensor, mask: null, scale: N, bias: N, softcap: N) => Tensor
    >('void* ggml_flash_attn_ext(void*, void*, void*, void*, void*, float, float, float)'),
    setAccumulation: base<(a: Tensor, precision: N) => boolean>('bool ggml_prec_set_acc(void*, int)'),
    cast: base<Op<[type: N]>>('void* ggml_cast(void*, void*, int)'),
    relu: base<Op>('void* ggml_relu(void*, void*)'),
    sigmoid: base<Op>('void* ggml_sigmoid(void*, void*)'),
    tanh: base<Op>('void* ggml_tanh(void*, void*)'),
    hardSwish: base<Op>('void* ggml_hardswish(void*, void*)'),
    hardSigmoid: base<Op>('void* ggml_hardsigmoid(void*, void*)'),
    getRows: base<Op2>('void* ggml_get_rows(void*, void*, void*)'),
    /** Both weights and values as `[width, height, channels, 1]`, the weights' own channels being one. */
    conv2dDepthwise: base<Op<[planes: Tensor, ...stride: Both, ...padding: Both, ...dilation: Both]>>(
      'void* ggml_conv_2d_dw_direct(void*, void*, void*, int, int, int, int, int, int)',
    ),
    /** Weights `[width, height, in, out]`. */
    conv2dDirect: base<Op<[planes: Tensor, ...stride: Both, ...padding: Both, ...dilation: Both]>>(
      'void* ggml_conv_2d_direct(void*, void*, void*, int, int, int, int, int, int)',
    ),
    /** Adds zeros before and after each axis. */
    padExt: base<Op<[left: N, right: N, top: N, bottom: N, p2: N, q2: N, p3: N, q3: N]>>(
      'void* ggml_pad_ext(void*, void*, int, int, int, int, int, int, int, int)',
    ),
    /** @param operation 1: the average */
    pool2d: base<Op<[operation: N, width: N, height: N, strideX: N, strideY: N, paddingX: N, paddingY: N]>>(
      'void* ggml_pool_2d(void*, void*, int, int, int, int, int, float, float)',
    ),
    reshape2d: base<Op<[x: N, y: N]>>('void* ggml_reshape_2d(void*, void*, int64, int64)'),
    reshape3d: base<Op<[x: N, y: N, z: N]>>('void* ggml_reshape_3d(void*, void*, int64, int64, int64)'),
    reshape4d: base<Op<[x: N, y: N, z: N, w: N]>>('void* ggml_reshape_4d(void*, void*, int64, int64, int64, int64)'),
    permute: base<Op<[x: N, y: N, z: N, w: N]>>('void* ggml_permute(void*, void*, int, int, int, int)'),
    cont: base<Op>('void* ggml_cont(void*, void*)'),
    cont2d: base<Op<[x: N, y: N]>>('void* ggml_cont_2d(void*, void*, int64, int64)'),
    concat: base<Op<[b: Tensor, dimension: N]>>('void* ggml_concat(void*, void*, void*, int)'),
    view3d: base<Op<[x: N, y: N, z: N, stride1: N, stride2: N, at: N]>>(
      'void* ggml_view_3d(void*, void*, int64, int64, int64, size_t, size_t, size_t)',
    ),

    // Gradients. `a` is that of the result, and what follows is what the forward operation took or gave.
    rmsNormBack: base<Op<[x: Tensor, epsilon: N]>>('void* ggml_rms_norm_back(void*, void*, void*, float)'),
    siluBack: base<Op<[x: Tensor]>>('void* ggml_silu_back(void*, void*, void*)'),
    softMaxExtBack: base<Op<[result: Tensor, scale: N, bias: N]>>(
      'void* ggml_soft_max_ext_back(void*, void*, void*, float, float)',
    ),
    ropeExtBack: base<Op<[positions: Tensor, factors: Tensor | null, dims: N, ...scaling: RopeScaling]>>(
      'void* ggml_rope_ext_back(void*, void*, void*, void*, int, int, int, float, float, float, float, float, float)',
    ),
    ropeMultiBack: base<Op<[positions: Tensor, factors: null, dims: N, sections: Int32Array, ...scaling: RopeScaling]>>(
      'void* ggml_rope_multi_back(void*, void*, void*, void*, int, const int*, int, int, float, float, float, float, float, float)',
    ),
    /** @param shape has as many rows as the result; its numbers are not read */
    getRowsBack: base<Op<[rows: Tensor, shape: Tensor]>>('void* ggml_get_rows_back(void*, void*, void*, void*)'),
    /** `[x, tokens]` and `[y, tokens]` -> `[x, y]` */
    outProd: base<Op2>('void* ggml_out_prod(void*, void*, void*)'),
    sqr: base<Op>('void* ggml_sqr(void*, void*)'),
    sum: base<Op>('void* ggml_sum(void*, void*)'),
    /** Writes into `a`. */
    addInplace: base<Op2>('void* ggml_add_inplace(void*, void*, void*)'),
    /** Adds `b` to the part of `a` that begins at this byte, and writes into `a`. */
    accInplace: base<Op<[b: Tensor, stride1: N, stride2: N, stride3: N, at: N]>>(
      'void* ggml_acc_inplace(void*, void*, void*, size_t, size_t, size_t, size_t)',
    ),
    view2d: base<Op<[x: N, y: N, stride: N, at: N]>>('void* ggml_view_2d(void*, void*, int64, int64, size_t, size_t)'),
    /** For `optStepAdamW`. */
    setParam: base<(tensor: Tensor) => void>('void ggml_set_param(void*)'),
    /**
     * Changes `a` and both moments.
     * @param settings `[7]`: learning rate, decays of the moments, epsilon, weight decay, `1 / (1 - decay^step)` of both
     */
    optStepAdamW: base<Op<[gradient: Tensor, first: Tensor, second: Tensor, settings: Tensor]>>(
      'void* ggml_opt_step_adamw(void*, void*, void*, void*, void*, void*)',
    ),

    /** The CPU back end of this machine's instruction set, or null if none could be loaded. */
    initCpu: (): Backend | null =>
      loader<(type: number, params: null) => Backend | null>('void* ggml_backend_init_by_type(int, void*)')(0, null),
    gpus: (): Gpu[] =>
      gpuDevices().map((device) => {
        const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)]
        deviceMemory(device, free, total)
        const integrated = deviceType(device) === deviceTypes.integrated
        return { name: deviceText(device), integrated, freeMemory: Number(free[0]) }
      }),
    initGpu: (): Backend | null => {
      const [device] = gpuDevices()
      return device === undefined ? null : initDevice(device, null)
    },
    supports: base<(backend: Backend, node: Tensor) => boolean>('bool ggml_backend_supports_op(void*, void*)'),
    freeBackend: base<(backend: Backend) => void>('void ggml_backend_free(void*)'),
    setThreads: (backend: Backend, threads: number): void => {
      const setter = getProcedure(getRegistry(getDevice(backend)), 'ggml_backend_set_n_threads')
      if (setter !== null) koffi.call(setter, threadSetter, backend, threads)
    },
    allocContextTensors: base<(context: Context, backend: Backend) => Pointer | null>(
      'void* ggml_backend_alloc_ctx_tensors(void*, void*)',
    ),
    freeBuffer: base<(buffer: Pointer) => void>('void ggml_backend_buffer_free(void*)'),
    /**
     * Runs graphs on the first of these back ends, and operations that it does not support on the next. The last is the
     * CPU's.
     * @param nodes maximum number of nodes of a graph
     */
    newScheduler: (backends: readonly Backend[], nodes: number): GraphScheduler =>
      newScheduler(BigUint64Array.from(backends), null, backends.length, nodes, false, true),
    /** Before the scheduler allocates another graph. */
    resetScheduler: base<(scheduler: GraphScheduler) => void>('void ggml_backend_sched_reset(void*)'),
    /** @returns the bytes on each back end that the values of a graph take, without taking them */
    graphBytes: (scheduler: GraphScheduler, graph: Graph, backends: number): number => {
      const sizes = new BigUint64Array(backends)
      reserveSize(scheduler, graph, sizes)
      return Number(sizes.reduce((sum, size) => sum + size, 0n))
    },
    freeScheduler: base<(scheduler: GraphScheduler) => void>('void ggml_backend_sched_free(void*)'),
    allocGraph: base<(scheduler: GraphScheduler, graph: Graph) => boolean>(
      'bool ggml_backend_sched_alloc_graph(void*, void*)',
    ),
    /** A graph whose memory is allocated may be computed repeatedly. */
    compute: base<(scheduler: GraphScheduler, graph: Graph) => number>(
      'int ggml_backend_sched_graph_compute(void*, void*)',
    ),
    setTensor: base<(tensor: Tensor, data: ArrayBufferView, offset: number, bytes: number) => void>(tensorSet),
    getTensor,
    fillTensor: base<(tensor: Tensor, byte: number, offset: number, bytes: number) => void>(
      'void ggml_backend_tensor_memset(void*, uint8, size_t, size_t)',
    ),
    /** Rows of 32-bit floats in another type. @returns bytes */
    quantize: (type: N, rows: Float32Array, count: N, columns: N, into: Uint8Array): number =>
      Number(quantizeChunk(type, rows, into, 0, count, columns, null)),

    /**
     * Reads a GGUF's header and makes a context that describes its tensors.
     * @returns null for a file that is not a GGUF or is damaged
     */
    openGguf: (file: string): { gguf: Gguf; context: Context } | null => {
      const slot = koffi.alloc('void*', 1)
      const gguf: Gguf | null = initGguf(file, { no_alloc: true, ctx: slot })
      const context: Context = koffi.decode(slot, 'void*')
      koffi.free(slot)
      return gguf === null ? null : { gguf, context }
    },
    freeGguf: base<(gguf: Gguf) => void>('void gguf_free(void*)'),
    tensorCount: base<(gguf: Gguf) => number>('int64 gguf_get_n_tensors(void*)'),
    tensorName: base<(gguf: Gguf, index: number) => string>('const char* gguf_get_tensor_name(void*, int64)'),
    tensorOffset: base<(gguf: Gguf, index: number) => number | bigint>('size_t gguf_get_tensor_offset(void*, int64)'),
    tensorSize: base<(gguf: Gguf, index: number) => number | bigint>('size_t gguf_get_tensor_size(void*, int64)'),
    dataOffset: base<(gguf: Gguf) => number | bigint>('size_t gguf_get_data_offset(void*)'),
    /** The description of a tensor like another, without its data. */
    dupTensor: base<Op>('void* ggml_dup_tensor(void*, void*)'),
    findTensor: base<(context: Context, name: string) => Tensor | null>('void* ggml_get_tensor(void*, const char*)'),
    /** A tensor's numbers as 32-bit floats, by ggml's own conversion of its type. */
    toFloats: (tensor: Tensor): Float32Array => {
      const raw = new Uint8Array(Number(tensorBytes(tensor)))
      getTensor(tensor, raw, 0, raw.byteLength)
      return convert(tensor, raw, Number(elementCount(tensor)))
    },
    /**
     * Some of a tensor's numbers as 32-bit floats.
     * @param raw bytes in the tensor's type
     * @param into written if it is given, unless the type is that of floats: they stay in `raw`
     */
    convert,
    /** As `convert`, of a type by its number. */
    floatsOf,
    tensorBytes: (tensor: Tensor): number => Number(tensorBytes(tensor)),
    /** Of a matrix [rows, columns] the rows; of a convolution its outputs; of a vector 1. */
    outerCount: (tensor: Tensor): number => {
      const sizes: BigInt64Array = koffi.decode(tensor, shapeOffset, koffi.array('int64', 4, 'Typed'))
      return Number(sizes.findLast((size, axis) => size > 1n && axis > 0) ?? 1n)
    },
    elementCount,
  }
}
