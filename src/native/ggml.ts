import { readdirSync } from 'node:fs'
import path from 'node:path'
import koffi from 'koffi'
import { OrielError } from '../errors.ts'
import { declare, type Pointer } from './function.ts'
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

/** A GPU that ggml has found. */
export interface Gpu {
  /** `NVIDIA GeForce RTX 4090` */
  name: string
  /** Whether it shares the machine's memory. */
  integrated: boolean
  /** Bytes. */
  freeMemory: number
}

type Op1 = (context: Context, a: Tensor) => Tensor
type Op2 = (context: Context, a: Tensor, b: Tensor) => Tensor

/**
 * The part of ggml and gguf that a vision graph needs. Names are ggml's own without their prefix. Shapes are ggml's:
 * the first number is the fastest one, so `[width, tokens]` is `tokens` rows of `width` numbers.
 */
export type Ggml = ReturnType<typeof bindGgml>

export function bindGgml({ ggmlBase, ggml, folder, fallback }: Libraries) {
  declare<(folder: string) => void>(ggml, 'void ggml_backend_load_all_from_path(const char*)')(folder)
  const deviceCount = declare<() => number | bigint>(ggml, 'size_t ggml_backend_dev_count()')
  const deviceAt = declare<(index: number) => DevicePointer>(ggml, 'void* ggml_backend_dev_get(size_t)')
  const deviceType = declare<(device: DevicePointer) => number>(ggmlBase, 'int ggml_backend_dev_type(void*)')
  const deviceText = declare<(device: DevicePointer) => string>(
    ggmlBase,
    'const char* ggml_backend_dev_description(void*)',
  )
  const deviceMemory = declare<(device: DevicePointer, free: BigUint64Array, total: BigUint64Array) => void>(
    ggmlBase,
    'void ggml_backend_dev_memory(void*, void*, void*)',
  )
  const initDevice = declare<(device: DevicePointer, params: null) => Backend | null>(
    ggmlBase,
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
  if (fallback !== null && gpuDevices().length === 0) {
    const file = libraryAmong(readdirSync(fallback), 'ggml-cuda')
    const loadBackend = declare<(file: string) => Pointer | null>(ggml, 'void* ggml_backend_load(const char*)')
    if (file !== undefined) loadBackend(path.join(fallback, file))
  }
  const initGguf = ggmlBase.func('gguf_init_from_file', 'void*', ['const char*', ggufInitParams])
  const initContext = ggmlBase.func('ggml_init', 'void*', [ggmlInitParams])
  const tensorSet = 'void ggml_backend_tensor_set(void*, const void*, size_t, size_t)'
  const getTensor = declare<(tensor: Tensor, data: ArrayBufferView, offset: number, bytes: number) => void>(
    ggmlBase,
    'void ggml_backend_tensor_get(void*, void*, size_t, size_t)',
  )
  const elementCount = declare<(tensor: Tensor) => number>(ggmlBase, 'int64 ggml_nelements(void*)')
  const tensorBytes = declare<(tensor: Tensor) => number | bigint>(ggmlBase, 'size_t ggml_nbytes(void*)')
  const typeTraits = declare<(type: number) => Pointer>(ggmlBase, 'const void* ggml_get_type_traits(int)')
  const toFloat = koffi.proto('void(const void*, void*, int64)')
  const getDevice = declare<(backend: Backend) => Pointer>(ggmlBase, 'void* ggml_backend_get_device(void*)')
  const getRegistry = declare<(device: Pointer) => Pointer>(ggmlBase, 'void* ggml_backend_dev_backend_reg(void*)')
  const getProcedure = declare<(registry: Pointer, name: string) => Pointer | null>(
    ggmlBase,
    'void* ggml_backend_reg_get_proc_address(void*, const char*)',
  )
  const overhead = Number(ggmlBase.func('size_t ggml_tensor_overhead()')())
  const graphOverhead = declare<(nodes: number, gradients: boolean) => number | bigint>(
    ggmlBase,
    'size_t ggml_graph_overhead_custom(size_t, bool)',
  )
  const newScheduler = declare<
    (
      backends: BigUint64Array,
      bufferTypes: null,
      count: number,
      nodes: number,
      parallel: boolean,
      offload: boolean,
    ) => GraphScheduler
  >(ggmlBase, 'void* ggml_backend_sched_new(void*, void*, int, size_t, bool, bool)')
  const threadSetter = koffi.proto('void(void*, int)')

  /** @throws OrielError `invalid` for a type that does not represent fractions */
  const convert = (tensor: Tensor, raw: Uint8Array, count: number): Float32Array => {
    const type: number = koffi.decode(tensor, 'int32')
    if (type === TensorType.F32) return new Float32Array(raw.buffer, raw.byteOffset, count)
    const conversion: Pointer | null = koffi.decode(typeTraits(type), toFloatOffset, 'void*')
    if (conversion === null)
      throw new OrielError(
        'invalid',
        `A tensor has the element type ${type} of ggml, which does not represent fractions.`,
        {
          code: 'bad_model',
        },
      )
    const out = new Float32Array(count)
    koffi.call(conversion, toFloat, raw, out, count)
    return out
  }

  return {
    /** A context for the descriptions of `tensors` tensors and one graph of as many nodes. Their data is elsewhere. */
    init: (tensors: number): Context =>
      initContext({
        mem_size: overhead * tensors + Number(graphOverhead(tensors, false)),
        mem_buffer: null,
        no_alloc: true,
      }),
    free: declare<(context: Context) => void>(ggmlBase, 'void ggml_free(void*)'),

    newTensor4d: declare<(context: Context, type: number, a: number, b: number, c: number, d: number) => Tensor>(
      ggmlBase,
      'void* ggml_new_tensor_4d(void*, int, int64, int64, int64, int64)',
    ),
    setInput: declare<(tensor: Tensor) => void>(ggmlBase, 'void ggml_set_input(void*)'),
    setOutput: declare<(tensor: Tensor) => void>(ggmlBase, 'void ggml_set_output(void*)'),
    newGraph: declare<(context: Context, nodes: number, gradients: boolean) => Graph>(
      ggmlBase,
      'void* ggml_new_graph_custom(void*, size_t, bool)',
    ),
    buildForwardExpand: declare<(graph: Graph, tensor: Tensor) => void>(
      ggmlBase,
      'void ggml_build_forward_expand(void*, void*)',
    ),

    mulMat: declare<Op2>(ggmlBase, 'void* ggml_mul_mat(void*, void*, void*)'),
    add: declare<Op2>(ggmlBase, 'void* ggml_add(void*, void*, void*)'),
    mul: declare<Op2>(ggmlBase, 'void* ggml_mul(void*, void*, void*)'),
    rmsNorm: declare<(context: Context, a: Tensor, epsilon: number) => Tensor>(
      ggmlBase,
      'void* ggml_rms_norm(void*, void*, float)',
    ),
    norm: declare<(context: Context, a: Tensor, epsilon: number) => Tensor>(
      ggmlBase,
      'void* ggml_norm(void*, void*, float)',
    ),
    gelu: declare<Op1>(ggmlBase, 'void* ggml_gelu(void*, void*)'),
    silu: declare<Op1>(ggmlBase, 'void* ggml_silu(void*, void*)'),
    geluQuick: declare<Op1>(ggmlBase, 'void* ggml_gelu_quick(void*, void*)'),
    swigluSplit: declare<Op2>(ggmlBase, 'void* ggml_swiglu_split(void*, void*, void*)'),
    gegluSplit: declare<Op2>(ggmlBase, 'void* ggml_geglu_split(void*, void*, void*)'),
    ropeExt: declare<
      (
        context: Context,
        a: Tensor,
        positions: Tensor,
        factors: null,
        dims: number,
        mode: number,
        contextOriginal: number,
        base: number,
        scale: number,
        extFactor: number,
        attnFactor: number,
        betaFast: number,
        betaSlow: number,
      ) => Tensor
    >(
      ggmlBase,
      'void* ggml_rope_ext(void*, void*, void*, void*, int, int, int, float, float, float, float, float, float)',
    ),
    ropeMulti: declare<
      (
        context: Context,
        a: Tensor,
        positions: Tensor,
        factors: null,
        dims: number,
        sections: Int32Array,
        mode: number,
        contextOriginal: number,
        base: number,
        scale: number,
        extFactor: number,
        attnFactor: number,
        betaFast: number,
        betaSlow: number,
      ) => Tensor
    >(
      ggmlBase,
      'void* ggml_rope_multi(void*, void*, void*, void*, int, const int*, int, int, float, float, float, float, float, float)',
    ),
    softMaxExt: declare<(context: Context, a: Tensor, mask: Tensor | null, scale: number, bias: number) => Tensor>(
      ggmlBase,
      'void* ggml_soft_max_ext(void*, void*, void*, float, float)',
    ),
    /** Keys and values in 16 bits. The scores are never in memory all at once. */
    flashAttention: declare<
      (
        context: Context,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: null,
        scale: number,
        bias: number,
        softcap: number,
      ) => Tensor
    >(ggmlBase, 'void* ggml_flash_attn_ext(void*, void*, void*, void*, void*, float, float, float)'),
    setAccumulation: declare<(a: Tensor, precision: number) => boolean>(ggmlBase, 'bool ggml_prec_set_acc(void*, int)'),
    cast: declare<(context: Context, a: Tensor, type: number) => Tensor>(
      ggmlBase,
      'void* ggml_cast(void*, void*, int)',
    ),
    relu: declare<Op1>(ggmlBase, 'void* ggml_relu(void*, void*)'),
    hardSwish: declare<Op1>(ggmlBase, 'void* ggml_hardswish(void*, void*)'),
    hardSigmoid: declare<Op1>(ggmlBase, 'void* ggml_hardsigmoid(void*, void*)'),
    getRows: declare<Op2>(ggmlBase, 'void* ggml_get_rows(void*, void*, void*)'),
    /** Both weights and values as `[width, height, channels, 1]`, the weights' own channels being one. */
    conv2dDepthwise: declare<
      (
        context: Context,
        weight: Tensor,
        a: Tensor,
        strideX: number,
        strideY: number,
        paddingX: number,
        paddingY: number,
        dilationX: number,
        dilationY: number,
      ) => Tensor
    >(ggmlBase, 'void* ggml_conv_2d_dw_direct(void*, void*, void*, int, int, int, int, int, int)'),
    /** @param operation 1: the average */
    pool2d: declare<
      (
        context: Context,
        a: Tensor,
        operation: number,
        width: number,
        height: number,
        strideX: number,
        strideY: number,
        paddingX: number,
        paddingY: number,
      ) => Tensor
    >(ggmlBase, 'void* ggml_pool_2d(void*, void*, int, int, int, int, int, float, float)'),
    reshape2d: declare<(context: Context, a: Tensor, x: number, y: number) => Tensor>(
      ggmlBase,
      'void* ggml_reshape_2d(void*, void*, int64, int64)',
    ),
    reshape3d: declare<(context: Context, a: Tensor, x: number, y: number, z: number) => Tensor>(
      ggmlBase,
      'void* ggml_reshape_3d(void*, void*, int64, int64, int64)',
    ),
    reshape4d: declare<(context: Context, a: Tensor, x: number, y: number, z: number, w: number) => Tensor>(
      ggmlBase,
      'void* ggml_reshape_4d(void*, void*, int64, int64, int64, int64)',
    ),
    permute: declare<(context: Context, a: Tensor, x: number, y: number, z: number, w: number) => Tensor>(
      ggmlBase,
      'void* ggml_permute(void*, void*, int, int, int, int)',
    ),
    cont: declare<Op1>(ggmlBase, 'void* ggml_cont(void*, void*)'),
    cont2d: declare<(context: Context, a: Tensor, x: number, y: number) => Tensor>(
      ggmlBase,
      'void* ggml_cont_2d(void*, void*, int64, int64)',
    ),
    concat: declare<(context: Context, a: Tensor, b: Tensor, dimension: number) => Tensor>(
      ggmlBase,
      'void* ggml_concat(void*, void*, void*, int)',
    ),
    view3d: declare<
      (
        context: Context,
        a: Tensor,
        x: number,
        y: number,
        z: number,
        stride1: number,
        stride2: number,
        at: number,
      ) => Tensor
    >(ggmlBase, 'void* ggml_view_3d(void*, void*, int64, int64, int64, size_t, size_t, size_t)'),

    /** The CPU back end of this machine's instruction set, or null if none could be loaded. */
    initCpu: (): Backend | null =>
      declare<(type: number, params: null) => Backend | null>(ggml, 'void* ggml_backend_init_by_type(int, void*)')(
        0,
        null,
      ),
    gpus: (): Gpu[] =>
      gpuDevices().map((device) => {
        const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)]
        deviceMemory(device, free, total)
        const integrated = deviceType(device) === deviceTypes.integrated
        return { name: deviceText(device), integrated, freeMemory: Number(free[0]) }
      }),
    /** The first GPU's back end, or null if there is none. */
    initGpu: (): Backend | null => {
      const [device] = gpuDevices()
      return device === undefined ? null : initDevice(device, null)
    },
    supports: declare<(backend: Backend, node: Tensor) => boolean>(
      ggmlBase,
      'bool ggml_backend_supports_op(void*, void*)',
    ),
    freeBackend: declare<(backend: Backend) => void>(ggmlBase, 'void ggml_backend_free(void*)'),
    setThreads: (backend: Backend, threads: number): void => {
      const setter = getProcedure(getRegistry(getDevice(backend)), 'ggml_backend_set_n_threads')
      if (setter !== null) koffi.call(setter, threadSetter, backend, threads)
    },
    allocContextTensors: declare<(context: Context, backend: Backend) => Pointer | null>(
      ggmlBase,
      'void* ggml_backend_alloc_ctx_tensors(void*, void*)',
    ),
    freeBuffer: declare<(buffer: Pointer) => void>(ggmlBase, 'void ggml_backend_buffer_free(void*)'),
    /**
     * Runs graphs on the first of these back ends, and operations that it does not support on the next. The last is the
     * CPU's.
     * @param nodes maximum number of nodes of a graph
     */
    newScheduler: (backends: readonly Backend[], nodes: number): GraphScheduler =>
      newScheduler(BigUint64Array.from(backends), null, backends.length, nodes, false, true),
    freeScheduler: declare<(scheduler: GraphScheduler) => void>(ggmlBase, 'void ggml_backend_sched_free(void*)'),
    allocGraph: declare<(scheduler: GraphScheduler, graph: Graph) => boolean>(
      ggmlBase,
      'bool ggml_backend_sched_alloc_graph(void*, void*)',
    ),
    /** A graph whose memory is allocated may be computed repeatedly. */
    compute: declare<(scheduler: GraphScheduler, graph: Graph) => number>(
      ggmlBase,
      'int ggml_backend_sched_graph_compute(void*, void*)',
    ),
    setTensor: declare<(tensor: Tensor, data: ArrayBufferView, offset: number, bytes: number) => void>(
      ggmlBase,
      tensorSet,
    ),
    getTensor,

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
    freeGguf: declare<(gguf: Gguf) => void>(ggmlBase, 'void gguf_free(void*)'),
    tensorCount: declare<(gguf: Gguf) => number>(ggmlBase, 'int64 gguf_get_n_tensors(void*)'),
    tensorName: declare<(gguf: Gguf, index: number) => string>(
      ggmlBase,
      'const char* gguf_get_tensor_name(void*, int64)',
    ),
    tensorOffset: declare<(gguf: Gguf, index: number) => number | bigint>(
      ggmlBase,
      'size_t gguf_get_tensor_offset(void*, int64)',
    ),
    tensorSize: declare<(gguf: Gguf, index: number) => number | bigint>(
      ggmlBase,
      'size_t gguf_get_tensor_size(void*, int64)',
    ),
    dataOffset: declare<(gguf: Gguf) => number | bigint>(ggmlBase, 'size_t gguf_get_data_offset(void*)'),
    findTensor: declare<(context: Context, name: string) => Tensor | null>(
      ggmlBase,
      'void* ggml_get_tensor(void*, const char*)',
    ),
    /** A tensor's numbers as 32-bit floats, by ggml's own conversion of its type. */
    toFloats: (tensor: Tensor): Float32Array => {
      const raw = new Uint8Array(Number(tensorBytes(tensor)))
      getTensor(tensor, raw, 0, raw.byteLength)
      return convert(tensor, raw, Number(elementCount(tensor)))
    },
    /** Some of a tensor's numbers as 32-bit floats. @param raw bytes in the tensor's type */
    convert,
    tensorBytes: (tensor: Tensor): number => Number(tensorBytes(tensor)),
    /** Of a matrix [rows, columns] the rows; of a convolution its outputs; of a vector 1. */
    outerCount: (tensor: Tensor): number => {
      const sizes: BigInt64Array = koffi.decode(tensor, shapeOffset, koffi.array('int64', 4, 'Typed'))
      return Number(sizes.findLast((size, axis) => size > 1n && axis > 0) ?? 1n)
    },
    elementCount,
  }
}
