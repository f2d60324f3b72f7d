import { z } from 'zod'

const MB = 1_000_000

const range = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], {
  error: 'must be an address or a range, like 127.0.0.1 or 10.0.0.0/8',
})

/** What could never match would be a list that keeps nobody out. */
const domain = z.union([z.string().regex(/^[^\s.:/*][^\s:/*]*$/), z.ipv6()], {
  error: 'must be like example.com, which stands for everything below it too',
})

/** What `media/` accepts. Bytes are decimal megabytes, as in the documents of the APIs that are implemented here. */
const media = z.strictObject({
  /** Pictures in one request, pages and frames counted one by one. */
  maxImages: z.number().int().positive().default(30),
  /** Characters of all base64 pictures of one request together. */
  maxBase64Bytes: z
    .number()
    .int()
    .positive()
    .default(10 * MB),
  /** Bytes of one picture fetched from a URL. */
  maxUrlBytes: z
    .number()
    .int()
    .positive()
    .default(5 * MB),
  /** Time for one URL in all: name, connection, redirects, body. */
  urlTimeoutMs: z.number().int().positive().default(1500),
  maxRedirects: z.number().int().nonnegative().default(3),
  /** Pixels of one picture, read from its header before it is decoded. */
  maxPixels: z
    .number()
    .int()
    .positive()
    .default(100 * MB),
  /** Pixels of all pictures of one request. */
  maxTotalPixels: z
    .number()
    .int()
    .positive()
    .default(400 * MB),
  /** Pixels that are being decoded at one time, in all requests; more wait. */
  maxPixelsInFlight: z
    .number()
    .int()
    .positive()
    .default(200 * MB),
  /** Pixels that are decoded and wait to be encoded, in all requests; more are refused. */
  maxPixelsHeld: z
    .number()
    .int()
    .positive()
    .default(400 * MB),
  /** Processes that decode; 0: one for each core, two to eight. */
  decoders: z.number().int().nonnegative().default(0),
  /** Time for decoding one file, all chosen pages of it, in ms. */
  decodeTimeoutMs: z.number().int().positive().default(20_000),
  /** Addresses or CIDR ranges that may be fetched from although they are not public: `127.0.0.1`, `10.0.0.0/8`. */
  allowPrivate: z.array(range).default([]),
  /** Domains that may be fetched from, each with everything below it; none: all. */
  allowDomains: z.array(domain).default([]),
  /** Domains that are never fetched from, each with everything below it. */
  denyDomains: z.array(domain).default([]),
  /** URL of an HTTP proxy that fetches. It resolves the names, so it also has to keep the inside network to itself. */
  proxy: z
    .url({ protocol: /^(https?|socks5?)$/, error: 'must be like http://proxy.example.com:3128' })
    .nullable()
    .default(null),
  /** Bytes of fetched files that are kept in memory, as far as their hosts allow it. */
  cacheBytes: z
    .number()
    .int()
    .nonnegative()
    .default(128 * MB),
  /** A folder where fetched files are kept too, and outlive the server; without it nothing does. */
  cacheDir: z.string().min(1).nullable().default(null),
  cacheDirBytes: z
    .number()
    .int()
    .nonnegative()
    .default(1000 * MB),
})

/** A number of bytes, or a text such as `8GB`. */
const bytes = z
  .union([z.number().int().nonnegative(), z.string().regex(/^\d+(\.\d+)? *[kMG]B$/i, 'must be like 8GB or 500MB')])
  .transform((size) => (typeof size === 'number' ? size : bytesOf(size)))

function bytesOf(text: string): number {
  const [, amount, unit = ''] = /^([\d.]+) *(\w+)$/.exec(text) ?? []
  const factor = { KB: 1e3, MB, GB: 1e9 }[unit.toUpperCase()] ?? 1
  return Math.floor(Number(amount) * factor)
}

/** When models are in memory. */
const loading = z.strictObject({
  /** Bytes that all models together may take; 0: four fifths of what is free at the start. */
  memoryBytes: bytes.default(0),
  /** How long a request waits for its model to be loaded, room for it included. */
  timeoutMs: z.number().int().positive().default(120_000),
  /** A model that nobody has used for so long is unloaded; 0: only when another needs its room. */
  keepLoadedMs: z.number().int().nonnegative().default(0),
})

/** How the engine of a model runs. */
const engine = z
  .strictObject({
    /** Threads of the decoder and the encoder together; 0: one for each core. */
    threads: z.number().int().nonnegative().default(0),
    /** What computes beside the processor; `auto`: a GPU, where one is there and its package is installed. */
    gpu: z.enum(['auto', 'off', 'cuda', 'vulkan', 'metal']).default('auto'),
    /** Tokens of KV memory, shared by all running sequences; 0: chosen from the model. */
    contextTokens: z.number().int().nonnegative().default(0),
    /** Sequences that run at once; more wait in the queue. */
    maxSequences: z.number().int().positive().max(192).default(32),
    /** Prefill tokens in one step at most. While somebody streams they are fewer, by what steps take. */
    chunkTokens: z.number().int().positive().default(256),
    /** Requests that may wait; one more is refused. */
    maxQueue: z.number().int().positive().default(512),
    /** Bytes of picture embeddings that are kept; 0: a twentieth of the memory for models, and 500 MB at most. */
    encoderCacheBytes: z.number().int().nonnegative().default(0),
    /** Bytes for prompts' beginnings that the KV memory has no room for; 0: as for embeddings. */
    prefixCacheBytes: z.number().int().nonnegative().default(0),
    /** Numbers of the KV memory: 8-bit ones take half the room, and prefill near three times as long on a CPU. */
    kvType: z.enum(['f16', 'q8_0']).default('f16'),
    /** Attention in one pass over the KV memory: prefill is a quarter faster with it, and 8-bit numbers need it. */
    flashAttention: z.stringbool().or(z.boolean()).default(true),
    /** What encodes pictures on a CPU: ONNX Runtime, or ggml, which also takes its place where it is not installed. */
    visionRuntime: z.enum(['onnx', 'ggml']).default('onnx'),
    /** `fp32` is exact, `int8` faster; ggml computes with the types of the file. */
    visionPrecision: z.enum(['fp32', 'int8']).default('fp32'),
  })
  .refine(({ kvType, flashAttention }) => flashAttention || kvType === 'f16', {
    message: '8-bit numbers in the KV memory (q8_0) need flash attention',
    path: ['kvType'],
  })

/** Where models are found, and where `oriel pull` gets them. */
const models = z.strictObject({
  /** Folders of GGUF files, beside the built-in models and the hub's cache. The first is where pulled URLs are put. */
  dirs: z.array(z.string().min(1)).default([]),
  hub: z
    .strictObject({
      endpoint: z.url({ protocol: /^https?$/ }).default('https://huggingface.co'),
      token: z.string().trim().min(1).nullable().default(null),
      /** Whether the hub may not be asked: what is in the cache has to do. */
      offline: z.stringbool().or(z.boolean()).default(false),
      /** Hugging Face's home; its cache is `hub` in there, unless `cache` says otherwise. */
      home: z.string().min(1).nullable().default(null),
      cache: z.string().min(1).nullable().default(null),
    })
    .prefault({}),
})

const server = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: z.number().int().min(0).max(65535).default(8080),
  /** Whether parameters that mean nothing to an endpoint are refused; otherwise a header of the answer names them. */
  strict: z.stringbool().or(z.boolean()).default(false),
  /** Bytes of a request's body: the base64 bound and some room for text. */
  maxBodyBytes: z
    .number()
    .int()
    .positive()
    .default(16 * MB),
})

/** What tokens cost, in any currency, for each million of them. */
const prices = z.strictObject({
  input: z.number().nonnegative().default(0),
  output: z.number().nonnegative().default(0),
})

const configSchema = z.strictObject({
  /** The models that are loaded at the start: ids of the library or paths of GGUF files. Others are when requests come. */
  model: z.array(z.string().min(1)).default(['pocket']),
  /** The vision file (mmproj) of that model, where it is not beside the model's own file. */
  mmproj: z.string().min(1).nullable().default(null),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug', 'trace']).default('warn'),
  server: server.prefault({}),
  media: media.prefault({}),
  engine: engine.prefault({}),
  loading: loading.prefault({}),
  models: models.prefault({}),
  prices: prices.prefault({}),
})

export type Config = z.output<typeof configSchema>
/** What a caller may set. Everything has a default. */
export type OrielSettings = Optional<z.input<typeof configSchema>>
export type MediaConfig = Config['media']
export type EngineConfig = Config['engine']
export type ModelsConfig = Config['models']
export type Prices = Config['prices']

/** Environment variables, each with the setting that it stands for. Flags of the command line win over these. */
const environment: Record<string, readonly string[]> = {
  ORIEL_HOST: ['server', 'host'],
  ORIEL_PORT: ['server', 'port'],
  ORIEL_STRICT: ['server', 'strict'],
  ORIEL_MODEL: ['model'],
  ORIEL_LOG_LEVEL: ['logLevel'],
  ORIEL_INPUT_PRICE: ['prices', 'input'],
  ORIEL_OUTPUT_PRICE: ['prices', 'output'],
  ORIEL_MAX_BODY_BYTES: ['server', 'maxBodyBytes'],
  ORIEL_MAX_IMAGES: ['media', 'maxImages'],
  ORIEL_MAX_BASE64_BYTES: ['media', 'maxBase64Bytes'],
  ORIEL_MAX_URL_BYTES: ['media', 'maxUrlBytes'],
  ORIEL_URL_TIMEOUT_MS: ['media', 'urlTimeoutMs'],
  ORIEL_MAX_REDIRECTS: ['media', 'maxRedirects'],
  ORIEL_MAX_PIXELS: ['media', 'maxPixels'],
  ORIEL_MAX_TOTAL_PIXELS: ['media', 'maxTotalPixels'],
  ORIEL_MAX_PIXELS_IN_FLIGHT: ['media', 'maxPixelsInFlight'],
  ORIEL_MAX_PIXELS_HELD: ['media', 'maxPixelsHeld'],
  ORIEL_DECODERS: ['media', 'decoders'],
  ORIEL_DECODE_TIMEOUT_MS: ['media', 'decodeTimeoutMs'],
  ORIEL_ALLOW_PRIVATE: ['media', 'allowPrivate'],
  ORIEL_ALLOW_DOMAINS: ['media', 'allowDomains'],
  ORIEL_DENY_DOMAINS: ['media', 'denyDomains'],
  ORIEL_FETCH_PROXY: ['media', 'proxy'],
  ORIEL_CACHE_BYTES: ['media', 'cacheBytes'],
  ORIEL_CACHE_DIR: ['media', 'cacheDir'],
  ORIEL_CACHE_DIR_BYTES: ['media', 'cacheDirBytes'],
  ORIEL_MEMORY_BUDGET: ['loading', 'memoryBytes'],
  ORIEL_LOAD_TIMEOUT_MS: ['loading', 'timeoutMs'],
  ORIEL_KEEP_LOADED_MS: ['loading', 'keepLoadedMs'],
  ORIEL_GPU: ['engine', 'gpu'],
  ORIEL_THREADS: ['engine', 'threads'],
  ORIEL_CONTEXT: ['engine', 'contextTokens'],
  ORIEL_ENCODER_CACHE: ['engine', 'encoderCacheBytes'],
  ORIEL_PREFIX_CACHE: ['engine', 'prefixCacheBytes'],
  ORIEL_MAX_SEQUENCES: ['engine', 'maxSequences'],
  ORIEL_CHUNK: ['engine', 'chunkTokens'],
  ORIEL_KV_TYPE: ['engine', 'kvType'],
  ORIEL_FLASH_ATTENTION: ['engine', 'flashAttention'],
  ORIEL_VISION_RUNTIME: ['engine', 'visionRuntime'],
  ORIEL_VISION_PRECISION: ['engine', 'visionPrecision'],
  ORIEL_MODELS_DIR: ['models', 'dirs'],
  // Hugging Face's own, with the meaning that they have for its programs.
  HF_ENDPOINT: ['models', 'hub', 'endpoint'],
  HF_TOKEN: ['models', 'hub', 'token'],
  HF_HUB_OFFLINE: ['models', 'hub', 'offline'],
  HF_HOME: ['models', 'hub', 'home'],
  HF_HUB_CACHE: ['models', 'hub', 'cache'],
}

/** The environment variable of a setting, or of the one that it is a part of. */
export const variableOf = (path: readonly PropertyKey[]): string | undefined =>
  Object.keys(environment).find((name) => environment[name]?.every((key, at) => path[at] === key))

type Optional<T> = T extends readonly unknown[] | null | undefined
  ? T
  : T extends object
    ? { [Key in keyof T]?: Optional<T[Key]> | undefined }
    : T

type Settings = { [key: string]: unknown }

/**
 * The configuration of one process: defaults, then the environment, then `overrides` (parsed flags).
 * A value that is not allowed ends in an error that names the setting, what was found and what is allowed.
 */
export function loadConfig(overrides: OrielSettings = {}, env: NodeJS.ProcessEnv = process.env): Config {
  const settings: Settings = {}
  for (const [name, path] of Object.entries(environment)) {
    const text = env[name]
    if (text !== undefined && text !== '') assign(settings, path, text, name)
  }
  return configSchema.parse(merge(settings, overrides))
}

function assign(settings: Settings, path: readonly string[], text: string, name: string): void {
  const [head, ...rest] = path
  if (head === undefined) return
  if (rest.length > 0) {
    const inner: Settings = isSettings(settings[head]) ? settings[head] : {}
    settings[head] = inner
    assign(inner, rest, text, name)
  } else if (Array.isArray(valueAt(name))) settings[head] = text.split(',').map((part) => part.trim())
  else if (typeof valueAt(name) === 'number') settings[head] = numberOr(text)
  else settings[head] = text
}

/** What is no number stays as it is, for the schema to say so. */
const numberOr = (text: string): number | string =>
  text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)

const defaults: Settings = configSchema.parse({})

/** The default that an environment variable replaces: its type says how the text is read. */
function valueAt(name: string): unknown {
  return environment[name]?.reduce<unknown>((value, key) => (isSettings(value) ? value[key] : undefined), defaults)
}

function merge(base: Settings, over: Settings): Settings {
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue
    const under = merged[key]
    merged[key] = isSettings(value) && isSettings(under) ? merge(under, value) : value
  }
  return merged
}

const isSettings = (value: unknown): value is Settings =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
