import type { Config } from '../../config.ts'
import { type Device, startEngine } from '../../engine/index.ts'
import type { Logger } from '../../log.ts'
import type { Media } from '../../media/index.ts'
import { availableProcessors } from '../../processors.ts'
import type { Starter } from '../deployment.ts'
import { embeddedBackend } from './backend.ts'

export interface EmbeddedOptions {
  config: Pick<Config, 'engine' | 'prices'>
  device: Device
  media: Media
  log: Logger
}

/** Starts models inside this server, each with an engine in a process of its own. The starter throws as `startEngine` does. */
export function embedded({ config, device, media, log }: EmbeddedOptions): Starter {
  let warned = false
  return async (card, { plan, onProgress, signal }) => {
    const { id: name, decoder, projector, size } = card
    const gpu = { device, layers: size.layers, bytes: plan.weights + plan.context, reserved: plan.vision }
    const decoderShare = size.decoderBytes / (size.decoderBytes + size.visionBytes)
    const engine = await startEngine(
      {
        name,
        decoder,
        projector,
        settings: {
          ...config.engine,
          threads: config.engine.threads || availableProcessors(),
          contextCells: plan.contextCells,
          encoderCacheBytes: plan.cache,
          prefixCacheBytes: plan.prefixes,
        },
        ...(device === 'cpu' ? {} : { gpu }),
        log,
        onProgress: (share) => onProgress(share * decoderShare),
      },
      signal,
    )
    const isSlow =
      device === 'cpu' && config.engine.visionRuntime === 'onnx' && engine.model.inputs.image?.runtime === 'ggml'
    if (isSlow && !warned) log.warn(slowEncoder)
    warned ||= isSlow
    return embeddedBackend({ card, engine, media, prices: config.prices })
  }
}

const slowEncoder =
  'ONNX Runtime cannot be loaded, so ggml encodes images, which takes 2 to 5 times as long. To install ONNX Runtime, run: npm install onnxruntime-node --ignore-scripts. It exists for Linux with glibc, for macOS on arm64 and for Windows.'
