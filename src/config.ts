import { z } from 'zod'
import { upstreams } from './config-upstreams.ts'

/**
 * The settings. Each is one entry of a schema below: its type, its default, and the environment variable that sets it
 * (`env`). The documents' tables of settings are checked against these entries by a test.
 */

const MB = 1_000_000

const positive = z.number().int().positive()
const natural = z.number().int().nonnegative()
const flag = z.stringbool().or(z.boolean())
const text = z.string().min(1)

const addressRange = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], {
  error: 'must be an address or a range, like 127.0.0.1 or 10.0.0.0/8',
})

/** Refuses entries that no host name can match, such as `*.example.com`: they would deny nothing. */
const domain = z.union([z.string().regex(/^[^\s.:/*][^\s:/*]*$/), z.ipv6()], {
  error: 'must be like example.com, which includes its subdomains',
})

const origin = z.string().regex(/^(\*|null|[a-z][a-z0-9+.-]*:\/\/[^/\s]+)$/i, {
  error: 'must be like https://app.example.com, without a path, or *',
})

/** Sizes are in bytes of decimal megabytes, as in the documents of the implemented APIs. */
const media = z.strictObject({
  /** Images in one request; each page and frame counts. */
  maxImages: positive.default(30).meta({ env: 'ORIEL_MAX_IMAGES' }),
  /** Characters of base64 in one request, for all images together. */
  maxBase64Bytes: positive.default(10 * MB).meta({ env: 'ORIEL_MAX_BASE64_BYTES' }),
  /** Bytes fetched from one URL. */
  maxUrlBytes: positive.default(5 * MB).meta({ env: 'ORIEL_MAX_URL_BYTES' }),
  /** Time for one URL in ms: name look-up, connection, redirects and body. */
  urlTimeoutMs: positive.default(1500).meta({ env: 'ORIEL_URL_TIMEOUT_MS' }),
  maxRedirects: natural.default(3).meta({ env: 'ORIEL_MAX_REDIRECTS' }),
  /** Pixels of one image, read from its header before decoding. */
  maxPixels: positive.default(100 * MB).meta({ env: 'ORIEL_MAX_PIXELS' }),
  /** Pixels of all images in one request. */
  maxTotalPixels: positive.default(400 * MB).meta({ env: 'ORIEL_MAX_TOTAL_PIXELS' }),
  /** Pixels being decoded at one time, in all requests. Further files wait. */
  maxPixelsInFlight: positive.default(200 * MB).meta({ env: 'ORIEL_MAX_PIXELS_IN_FLIGHT' }),
  /** Decoded pixels that wait to be encoded, in all requests. Further images are refused. */
  maxPixelsHeld: positive.default(400 * MB).meta({ env: 'ORIEL_MAX_PIXELS_HELD' }),
  /** Videos and audio in one request. */
  maxRecordings: positive.default(10).meta({ env: 'ORIEL_MAX_RECORDINGS' }),
  /** Characters of base64 in one request, for all videos and audio together. */
  maxRecordingBase64Bytes: positive.default(10 * MB).meta({ env: 'ORIEL_MAX_RECORDING_BASE64_BYTES' }),
  /** Bytes fetched from one URL of a video or of audio. */
  maxRecordingUrlBytes: positive.default(50 * MB).meta({ env: 'ORIEL_MAX_RECORDING_URL_BYTES' }),
  /** Time for one URL of a video or of audio in ms. */
  recordingUrlTimeoutMs: positive.default(30_000).meta({ env: 'ORIEL_RECORDING_URL_TIMEOUT_MS' }),
  /** Length of one video or audio in seconds, or of the clip of it. */
  maxRecordingSeconds: positive.default(3600).meta({ env: 'ORIEL_MAX_RECORDING_SECONDS' }),
  /** Frames in one request, of all videos together. */
  maxFrames: positive.default(256).meta({ env: 'ORIEL_MAX_FRAMES' }),
  /** Pixels of one frame in the file of a video. */
  maxFramePixels: positive.default(36 * MB).meta({ env: 'ORIEL_MAX_FRAME_PIXELS' }),
  /** Pixels of all frames in one request, as the model gets them. */
  maxTotalFramePixels: positive.default(400 * MB).meta({ env: 'ORIEL_MAX_TOTAL_FRAME_PIXELS' }),
  /** Samples of all audio in one request, at 16,000 a second. */
  maxSamples: positive.default(57_600_000).meta({ env: 'ORIEL_MAX_SAMPLES' }),
  /** Time for decoding one video or audio, in ms. */
  recordingDecodeTimeoutMs: positive.default(60_000).meta({ env: 'ORIEL_RECORDING_DECODE_TIMEOUT_MS' }),
  /** Memory for decoding one video or audio, in bytes. Only Linux enforces it. */
  recordingMemoryBytes: positive.default(2000 * MB).meta({ env: 'ORIEL_RECORDING_MEMORY' }),
  /** The program `ffmpeg`, which decodes what the packages cannot. Null: the one of `PATH`. */
  ffmpeg: text.nullable().default(null).meta({ env: 'ORIEL_FFMPEG' }),
  /** Decoder processes; 0: one per core, at least two and at most eight. */
  decoders: natural.default(0).meta({ env: 'ORIEL_DECODERS' }),
  /** Time for decoding one file with all its selected pages, in ms. */
  decodeTimeoutMs: positive.default(20_000).meta({ env: 'ORIEL_DECODE_TIMEOUT_MS' }),
  /** Addresses or CIDR ranges to fetch from although they are not public: `127.0.0.1`, `10.0.0.0/8`. */
  allowPrivate: z.array(addressRange).default([]).meta({ env: 'ORIEL_ALLOW_PRIVATE' }),
  /** The only domains to fetch from, including their subdomains. An empty list allows every domain. */
  allowDomains: z.array(domain).default([]).meta({ env: 'ORIEL_ALLOW_DOMAINS' }),
  /** Domains never to fetch from, including their subdomains. */
  denyDomains: z.array(domain).default([]).meta({ env: 'ORIEL_DENY_DOMAINS' }),
  /** URL of an HTTP proxy to fetch through. It resolves the names, so it must protect the internal network itself. */
  proxy: z
    .url({ protocol: /^(https?|socks5?)$/, error: 'must be like http://proxy.example.com:3128' })
    .nullable()
    .default(null)
    .meta({ env: 'ORIEL_FETCH_PROXY' }),
  /** Memory for fetched files, in bytes; 0 disables the cache in memory. */
  cacheBytes: natural.default(128 * MB).meta({ env: 'ORIEL_CACHE_BYTES' }),
  /** A folder that keeps fetched files across restarts. */
  cacheDir: text.nullable().default(null).meta({ env: 'ORIEL_CACHE_DIR' }),
  /** Disk space for fetched files in that folder, in bytes. */
  cacheDirBytes: natural.default(1000 * MB).meta({ env: 'ORIEL_CACHE_DIR_BYTES' }),
})

/** A number of bytes, or a text such as `8GB`. */
const bytes = z
  .union([natural, z.string().regex(/^\d+(\.\d+)? *[kMG]B$/i, 'must be like 8GB or 500MB')])
  .transform((size) => (typeof size === 'number' ? size : bytesOf(size)))

function bytesOf(size: string): number {
  const [, amount, unit = ''] = /^([\d.]+) *(\w+)$/.exec(size) ?? []
  const factor = { KB: 1e3, MB, GB: 1e9 }[unit.toUpperCase()] ?? 1
  return Math.floor(Number(amount) * factor)
}

/** When models are loaded and unloaded. */
const loading = z.strictObject({
  /** Memory for all loaded models together, in bytes; 0: four fifths of the memory that is free at the start. */
  memoryBytes: bytes.default(0).meta({ env: 'ORIEL_MEMORY_BUDGET' }),
  /** How long a request waits for its model, in ms, including the unloading of others. */
  timeoutMs: positive.default(120_000).meta({ env: 'ORIEL_LOAD_TIMEOUT_MS' }),
  /** A model that is idle for this long is unloaded, in ms; 0: only when another model needs its memory. */
  keepLoadedMs: natural.default(0).meta({ env: 'ORIEL_KEEP_LOADED_MS' }),
})

/** How the engine of a model runs. */
const engine = z
  .strictObject({
    /** Threads of the decoder and the encoder together; 0: one per core. */
    threads: natural.default(0).meta({ env: 'ORIEL_THREADS' }),
    /** The device that computes; `auto`: a GPU if there is one and its package is installed. */
    gpu: z.enum(['auto', 'off', 'cuda', 'vulkan', 'metal']).default('auto').meta({ env: 'ORIEL_GPU' }),
    /** Cells of the KV cache in tokens, shared by all running sequences; 0: chosen from the model and the memory. */
    contextTokens: natural.default(0).meta({ env: 'ORIEL_CONTEXT' }),
    /** Sequences that run at the same time. Further requests are queued. */
    maxSequences: positive.max(192).default(32).meta({ env: 'ORIEL_MAX_SEQUENCES' }),
    /** The limit for prefill tokens in one step. While answers are streaming, a step takes fewer to keep its time. */
    chunkTokens: positive.default(256).meta({ env: 'ORIEL_CHUNK' }),
    /** Requests in the queue. Further requests are refused. */
    maxQueue: positive.default(512),
    /** Memory for image embeddings, in bytes; 0: a twentieth of the memory for models, at most 500 MB. */
    encoderCacheBytes: natural.default(0).meta({ env: 'ORIEL_ENCODER_CACHE' }),
    /** Memory for prompt prefixes evicted from the KV cache, in bytes; 0: as for image embeddings. */
    prefixCacheBytes: natural.default(0).meta({ env: 'ORIEL_PREFIX_CACHE' }),
    /** Adapters of one model that are loaded at the same time. The least recently used one leaves when another is needed. */
    maxAdapters: positive.default(8).meta({ env: 'ORIEL_MAX_ADAPTERS' }),
    /** The number type of the KV cache. `q8_0` needs half the memory, and prefill on a CPU takes almost three times as long. */
    kvType: z.enum(['f16', 'q8_0']).default('f16').meta({ env: 'ORIEL_KV_TYPE' }),
    /** Flash attention. It makes prefill a quarter faster, and `q8_0` needs it. */
    flashAttention: flag.default(true).meta({ env: 'ORIEL_FLASH_ATTENTION' }),
    /** The runtime that encodes images on a CPU. ggml is also used where ONNX Runtime is not installed. */
    visionRuntime: z.enum(['onnx', 'ggml']).default('onnx').meta({ env: 'ORIEL_VISION_RUNTIME' }),
    /** `auto` measures how each matrix of the encoder is computed best, `fp32` is exact, `int8` is fastest. ggml uses the number types of the file. */
    visionPrecision: z.enum(['auto', 'fp32', 'int8']).default('auto').meta({ env: 'ORIEL_VISION_PRECISION' }),
    /** Disk space for the image encoders' weights in the form in which they are computed with; 0: they are made at each load. */
    weightCacheBytes: bytes.default(16e9).meta({ env: 'ORIEL_WEIGHT_CACHE' }),
  })
  .refine(({ kvType, flashAttention }) => flashAttention || kvType === 'f16', {
    message: 'the KV cache type q8_0 needs flash attention',
    path: ['kvType'],
  })

/** Where models are found, and where they are pulled from. */
const models = z.strictObject({
  /** Folders of GGUF files, in addition to the built-in models and the hub's cache. Models pulled by URL go to the first. */
  dirs: z.array(text).default([]).meta({ env: 'ORIEL_MODELS_DIR' }),
  /** Hugging Face. The variables have the meaning that Hugging Face's own programs give them. */
  hub: z
    .strictObject({
      endpoint: z
        .url({ protocol: /^https?$/ })
        .default('https://huggingface.co')
        .meta({ env: 'HF_ENDPOINT' }),
      token: z.string().trim().min(1).nullable().default(null).meta({ env: 'HF_TOKEN' }),
      /** Whether only models in the cache are used. */
      offline: flag.default(false).meta({ env: 'HF_HUB_OFFLINE' }),
      /** The folder whose subfolder `hub` is the cache, unless `cache` is set. */
      home: text.nullable().default(null).meta({ env: 'HF_HOME' }),
      cache: text.nullable().default(null).meta({ env: 'HF_HUB_CACHE' }),
    })
    .prefault({}),
})

const server = z.strictObject({
  host: text.default('127.0.0.1').meta({ env: 'ORIEL_HOST' }),
  port: z.number().int().min(0).max(65535).default(8080).meta({ env: 'ORIEL_PORT' }),
  /** Whether parameters that an endpoint ignores are refused. Otherwise a response header lists them. */
  strict: flag.default(false).meta({ env: 'ORIEL_STRICT' }),
  /** Bytes of a request body: the limit for base64 plus space for text. */
  maxBodyBytes: positive.default(16 * MB).meta({ env: 'ORIEL_MAX_BODY_BYTES' }),
  /** Bytes of a form with its file: what OpenAI allows of audio, and space for text. */
  maxFormBytes: positive.default(30 * MB).meta({ env: 'ORIEL_MAX_FORM_BYTES' }),
  /** Memory for the bodies of all requests, from their arrival to the end of the answer, in bytes. Further bodies wait. */
  maxBodiesBytes: positive.default(200 * MB).meta({ env: 'ORIEL_MAX_BODIES_BYTES' }),
  /** Names under which the server is reached, including their subdomains, in addition to those of this machine; `*`: any. */
  hostnames: z
    .array(domain.or(z.literal('*')))
    .default([])
    .meta({ env: 'ORIEL_HOSTNAMES' }),
  /** Whether a server without keys may be reached from other machines. */
  insecure: flag.default(false).meta({ env: 'ORIEL_INSECURE' }),
  /** How long the server goes on after it is told to end, while `/ready` says that it does, in ms: routers need a moment to notice. */
  shutdownDelayMs: natural.default(0).meta({ env: 'ORIEL_SHUTDOWN_DELAY_MS' }),
  /** Time that answers in progress have then, in ms. Those that take longer end with an error. */
  graceMs: natural.default(1000).meta({ env: 'ORIEL_GRACE_MS' }),
  /** Origins of pages that may use the server from a browser; `*`: any. */
  origins: z.array(origin).default([]).meta({ env: 'ORIEL_ORIGINS' }),
})

/** An amount of the currency for a million tokens, or for one image. */
const amount = z.number().nonnegative().max(100_000)

/** The price of a million tokens, in any currency. */
const prices = z.strictObject({
  input: amount.default(0).meta({ env: 'ORIEL_INPUT_PRICE' }),
  output: amount.default(0).meta({ env: 'ORIEL_OUTPUT_PRICE' }),
})

/** The most that one account may do with one model in any 60 seconds. Null: no limit. */
const limits = z.strictObject({
  requests: positive.nullable().default(null),
  /** Of prompts and answers together. */
  tokens: positive.nullable().default(null),
  promptTokens: positive.nullable().default(null),
  /** Of prompts, without those that were in the KV cache. */
  cacheAdjustedPromptTokens: positive.nullable().default(null),
  generatedTokens: positive.nullable().default(null),
  images: positive.nullable().default(null),
  /** At the same time. */
  concurrentRequests: positive.nullable().default(null),
})

/** The limits of an account for each model, and others for models by their id. */
const tier = limits.extend({ models: z.record(text, limits).default({}) })

/** The prices of one model, in the currency of the other prices. */
const modelPrices = z.strictObject({
  input: amount,
  /** Of tokens that were in the KV cache. Null: half of the input price. */
  cachedInput: amount.nullable().default(null),
  output: amount,
  /** The least price of an image: images whose tokens cost less cost this. */
  image: amount.default(0),
})

/** Keys, limits, usage and prices. */
const accounts = z
  .strictObject({
    /** The folder of the database, and of usage that waits for one that is cut off. Null: `~/.oriel`. */
    dataDir: text.nullable().default(null).meta({ env: 'ORIEL_DATA_DIR' }),
    /** PostgreSQL, for several servers. Null: an SQLite file in the data folder. */
    databaseUrl: z
      .url({ protocol: /^postgres(ql)?$/, error: 'must be like postgres://user:password@host/database' })
      .nullable()
      .default(null)
      .meta({ env: 'DATABASE_URL' }),
    /** Redis, in which several servers count for limits. Null: each counts in its memory. */
    redisUrl: z
      .url({ protocol: /^rediss?$/, error: 'must be like redis://host:6379' })
      .nullable()
      .default(null)
      .meta({ env: 'REDIS_URL' }),
    /** A key that may do everything, for machines that are set up without a person. */
    adminKey: z
      .string()
      .regex(/^[!-~]{16,}$/, 'must have at least 16 characters, all of them ASCII and none a space')
      .nullable()
      .default(null)
      .meta({ env: 'ORIEL_ADMIN_KEY' }),
    /** How long the usage of each request is kept, in days; at least the present month. */
    usageDays: z.number().int().min(31).default(400).meta({ env: 'ORIEL_USAGE_DAYS' }),
    /** The tier of accounts that have none of their own. Null: no limits. */
    tier: text.nullable().default(null).meta({ env: 'ORIEL_TIER' }),
    tiers: z.record(text, tier).default({}),
    /** How far limits may grow with use, as a multiple of the tier's. 1: they stay. */
    growth: z.number().min(1).max(1000).default(1).meta({ env: 'ORIEL_LIMIT_GROWTH' }),
    /** By the id of a model. Other models have the prices of `prices`. */
    prices: z.record(text, modelPrices).default({}),
  })
  .refine(({ tier, tiers }) => tier === null || Object.hasOwn(tiers, tier), {
    message: 'is not one of the tiers of the configuration file',
    path: ['tier'],
  })

/** Datasets and jobs that train adapters with them. */
const tuning = z.strictObject({
  /** Datasets of one account. */
  maxDatasets: positive.default(100).meta({ env: 'ORIEL_MAX_DATASETS' }),
  /** Disk space for the datasets of one account together, in bytes. They are in the data folder. */
  maxDatasetBytes: bytes.default(20_000 * MB).meta({ env: 'ORIEL_MAX_DATASET_BYTES' }),
  /** Memory that training takes at most, in bytes, out of that of models; 0: half of it. */
  memoryBytes: bytes.default(0).meta({ env: 'ORIEL_TUNING_MEMORY' }),
  /** Threads of the trainer; 0: those of the engine. */
  threads: natural.default(0).meta({ env: 'ORIEL_TUNING_THREADS' }),
  /**
   * Another trainer, for models that the built-in one cannot train: `ms-swift`, `llama-factory`, `trl` or `axolotl` and words
   * that are added to its command, or the words of any command. It is run without a shell.
   */
  trainer: z.array(text).default([]).meta({ env: 'ORIEL_TRAINER' }),
  /** What that trainer knows base models by, by their ids: `{"qwen2.5-vl-3b": "Qwen/Qwen2.5-VL-3B-Instruct"}`. */
  trainerModels: z.record(text, text).default({}),
})

export const configSchema = z.strictObject({
  /** A JSON or TOML file with settings by their paths here: `{"server": {"port": 80}}`. */
  file: text.nullable().default(null).meta({ env: 'ORIEL_CONFIG' }),
  /** The key that commands send to a server that needs one. */
  apiKey: text.nullable().default(null).meta({ env: 'ORIEL_API_KEY' }),
  /** Models to load at the start, by id or by the path of a GGUF file. Other models are loaded on demand. */
  model: z.array(text).default(['pocket']).meta({ env: 'ORIEL_MODEL' }),
  /** The vision file (mmproj) of that model, if it is not next to the model's file. */
  mmproj: text.nullable().default(null),
  logLevel: z
    .enum(['silent', 'error', 'warn', 'info', 'debug', 'trace'])
    .default('warn')
    .meta({ env: 'ORIEL_LOG_LEVEL' }),
  /** `auto`: lines for a person if stderr is a terminal, JSON otherwise. */
  logFormat: z.enum(['auto', 'json']).default('auto').meta({ env: 'ORIEL_LOG_FORMAT' }),
  server: server.prefault({}),
  media: media.prefault({}),
  engine: engine.prefault({}),
  loading: loading.prefault({}),
  models: models.prefault({}),
  prices: prices.prefault({}),
  accounts: accounts.prefault({}),
  tuning: tuning.prefault({}),
  upstreams: upstreams.default([]),
  /** Further names: of a model, or of several in the order in which they are tried. */
  aliases: z
    .record(
      text,
      z
        .array(text)
        .min(1)
        .or(text.transform((name) => [name])),
    )
    .default({}),
})

export type Config = z.output<typeof configSchema>
/** What a caller may set. Everything has a default. */
export type OrielSettings = Optional<z.input<typeof configSchema>>
export type MediaConfig = Config['media']
export type EngineConfig = Config['engine']
export type ModelsConfig = Config['models']
export type AccountsConfig = Config['accounts']

type Optional<T> = T extends readonly unknown[] | null | undefined
  ? T
  : T extends object
    ? { [Key in keyof T]?: Optional<T[Key]> | undefined }
    : T
