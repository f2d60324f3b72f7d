import { statSync } from 'node:fs'
import { type Deferred, deferred } from '../deferred.ts'
import { openImageArchitecture } from '../encoders/index.ts'
import { type Decoder, openDecoder } from '../language/index.ts'
import { availableMemory } from '../memory.ts'
import { countOutlived, dieWithParent, openNative } from '../native/index.ts'
import { Cores } from './cores.ts'
import type { EngineModel, GenerateEvent, Pixels, PromptPiece } from './generation.ts'
import { storedSequences } from './kv-cache.ts'
import { usualCacheBytes } from './memory-shares.ts'
import { PictureEncoder } from './picture-encoder.ts'
import { type FromEngine, type LoadOptions, type ToEngine, toWire, type WirePiece } from './protocol.ts'
import { Scheduler } from './scheduler.ts'

/**
 * The engine's process: one model, driven by messages of its parent. A crash in native code ends this process and
 * nothing else; the parent (`host.ts`) tells the running requests and starts another.
 */
let scheduler: Scheduler | undefined
let events: [number, GenerateEvent][] = []
/** Pixels that were asked for and are not here yet. */
let wanted: { id: number; hash: string; coming: Deferred<Uint8Array | undefined> }[] = []

const send = (message: FromEngine): void => {
  if (process.connected) process.send?.(message)
}

process.on('message', (message: ToEngine) => {
  if (message.type === 'load') {
    void load(message.options)
    return
  }
  if (scheduler === undefined) return
  switch (message.type) {
    case 'generate':
      scheduler.submit(message.id, { ...message.request, prompt: message.request.prompt.map(withoutPixels) })
      break
    case 'cancel':
      scheduler.cancel(message.id)
      break
    case 'pixels':
      settle(message.rgb, ({ id, hash }) => id === message.id && hash === message.hash)
      break
    case 'count':
      count(scheduler, message.id, message.prompt)
      break
    case 'state':
      send({ type: 'state', id: message.id, state: scheduler.state })
      break
  }
})
// Without its parent nobody hears the answers.
process.on('disconnect', () => process.exit(0))
// The terminal sends these to the whole group; the parent decides when the engine goes.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})

async function load({ decoder: file, projector, name, config, gpu }: LoadOptions): Promise<void> {
  try {
    // The first call decides for which device the libraries are.
    openNative(gpu?.device)
    dieWithParent()
    const cores = new Cores(config.threads)
    const architecture = projector === null ? null : await openImageArchitecture(projector)
    const decoder = openDecoder(file, {
      cells: config.contextTokens,
      sequences: config.maxSequences + storedSequences,
      batchRows: Math.max(config.chunkTokens, architecture?.atOnce ?? 0) + config.maxSequences,
      threads: cores.all,
      kvType: config.kvType,
      flashAttention: config.flashAttention,
      ...(gpu === undefined ? {} : { gpu }),
      onProgress: tellProgress(),
    })
    await warmUp(decoder)
    const cacheBytes = usualCacheBytes(availableMemory())
    if (architecture !== null && architecture.width !== decoder.width)
      throw new Error(`the vision file's embeddings are ${architecture.width} wide, the model's ${decoder.width}`)
    const decoding = () => (scheduler?.state.running ?? 0) > 0
    const encoder =
      projector === null
        ? null
        : await PictureEncoder.open(
            {
              file: projector,
              settings: {
                runtime: config.visionRuntime,
                precision: config.visionPrecision,
                threads: cores.all,
                device: gpu?.device ?? 'cpu',
              },
            },
            config.encoderCacheBytes || cacheBytes,
            {
              shared: gpu === undefined ? { all: cores.all, decoding: cores.half } : null,
              next: () => cores.forEncoding(decoding()),
              took: (threads, tokens, ms) => {
                if (!decoding()) cores.encoded(threads, tokens, ms)
              },
            },
          )
    const settings = { ...config, prefixCacheBytes: config.prefixCacheBytes || cacheBytes }
    scheduler = new Scheduler(decoder, architecture, encoder, cores, settings, {
      emit: (id, event) => {
        events.push([id, event])
        if (event.type === 'done') settle(undefined, (one) => one.id === id)
      },
      fail: (id, error) => {
        // What was said before the failure must not come after it.
        flush()
        send({ type: 'failed', id, error: toWire(error) })
        settle(undefined, (one) => one.id === id)
      },
      flush,
      pixels: (id, { picture }) => pixelsOf(id, picture.hash),
      letGo(id, { picture: { hash, width, height } }) {
        send({ type: 'encoded', id, hash })
        setImmediate(() => countOutlived(width * height * 3))
      },
    })
    const { vocabulary, chatTemplate, contextTokens } = decoder
    const model: EngineModel = {
      name,
      contextTokens,
      vocabulary: vocabulary.size,
      vision: architecture === null ? null : { architecture: architecture.name, longestEdge: architecture.longestEdge },
      memory: { ...decoder.memory, visionBytes: projector === null ? 0 : statSync(projector).size },
      gpuLayers: decoder.gpuLayers,
      chatTemplate,
      bosToken: vocabulary.bos,
      eosToken: vocabulary.eos,
      controlTokens: vocabulary.controlTokens,
    }
    send({ type: 'ready', model })
  } catch (error) {
    send({ type: 'failed', id: null, error: toWire(error) })
  }
}

/** The first step brings all weights into memory: no request shall wait for that, nor what steps cost be learned of it. */
async function warmUp(decoder: Decoder): Promise<void> {
  const batch = decoder.newTokenBatch()
  batch.addToken(0, 0, 0, true)
  await decoder.decode(batch)
  decoder.forget(0)
}

/** Tells of the decoder's weights as they come, in steps of a hundredth. */
function tellProgress(): (share: number) => void {
  let told = 0
  return (share) => {
    const now = Math.floor(share * 100) / 100
    if (now > told) send({ type: 'loading', share: now })
    told = Math.max(told, now)
  }
}

function pixelsOf(id: number, hash: string): Promise<Uint8Array | undefined> {
  const coming = deferred<Uint8Array | undefined>()
  wanted.push({ id, hash, coming })
  send({ type: 'want', id, hash })
  return coming.promise
}

/** @param rgb undefined: the request is over */
function settle(rgb: Uint8Array | undefined, meant: (one: { id: number; hash: string }) => boolean): void {
  for (const { coming } of wanted.filter(meant)) coming.resolve(rgb)
  wanted = wanted.filter((one) => !meant(one))
}

function count(engine: Scheduler, id: number, prompt: readonly WirePiece[]): void {
  try {
    send({ type: 'counted', id, count: engine.count(prompt.map(withoutPixels)) })
  } catch (error) {
    send({ type: 'failed', id, error: toWire(error) })
  }
}

function flush(): void {
  if (events.length === 0) return
  send({ type: 'events', events })
  events = []
}

const noPixels: Pixels = { rgb: new Uint8Array(), letGo() {} }

const withoutPixels = (piece: WirePiece): PromptPiece =>
  piece.kind !== 'picture' ? piece : { kind: 'picture', picture: { ...piece.picture, pixels: noPixels } }
