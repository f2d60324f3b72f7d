import type { AudioCodec, EncodedPacket } from 'mediabunny'
import { joinFloats } from '../../../join-floats.ts'
import { progress } from './progress.ts'

/**
 * Sound by decoders in WebAssembly, a package for each codec, for where node-webcodecs is not: mediabunny reads the containers
 * all the same. They are optional.
 */

/** What a packet becomes. */
interface Decoded {
  readonly channelData: Float32Array[]
  readonly samplesDecoded: number
  readonly sampleRate: number
  readonly errors: readonly unknown[]
}

/** The decoder of one track. */
interface Stream {
  decode(packet: Uint8Array): Decoded | Promise<Decoded>
  free(): void
}

/** @param isStart whether its first packet is the first of the file */
type Open = (config: AudioDecoderConfig, isStart: boolean) => Promise<Stream>

const codecs: Partial<Record<AudioCodec, () => Promise<Open>>> = {
  async opus() {
    const { OpusDecoder } = await import('opus-decoder')
    return async (config, isStart) => {
      const { order, ...options } = opusOptions(config, isStart)
      const decoder = new OpusDecoder(options)
      await decoder.ready
      return { decode: (packet) => inOrder(decoder.decodeFrame(packet), order), free: () => decoder.free() }
    }
  },
  async mp3() {
    const { MPEGDecoder } = await import('mpg123-decoder')
    return async () => {
      const decoder = new MPEGDecoder({ enableGapless: false })
      await decoder.ready
      return { decode: (packet) => decoder.decodeFrame(packet), free: () => decoder.free() }
    }
  },
  async flac() {
    const { FLACDecoder } = await import('@wasm-audio-decoders/flac')
    return async () => {
      const decoder = new FLACDecoder()
      await decoder.ready
      return { decode: (packet) => decoder.decodeFrames([packet]), free: () => decoder.free() }
    }
  },
  async vorbis() {
    const { OggVorbisDecoder } = await import('@wasm-audio-decoders/ogg-vorbis')
    return async (config) => {
      const { identification, setup } = vorbisHeaders(config)
      const decoder = new OggVorbisDecoder()
      await decoder.ready
      const pages = (packet: Uint8Array) => [
        { data: identification, codecFrames: [{ data: packet, header: { vorbisSetup: setup } }] },
      ]
      return {
        // Of a page, it reads no more than this.
        decode: async (packet) =>
          inOrder(
            await decoder.decodeOggPages(pages(packet) as unknown as Parameters<typeof decoder.decodeOggPages>[0]),
            vorbisOrder[config.numberOfChannels],
          ),
        free: () => decoder.free(),
      }
    }
  },
}

/** Gives mediabunny the decoders that are installed. */
export async function addWasmDecoders(mediabunny: typeof import('mediabunny')): Promise<void> {
  const { AudioSample, CustomAudioDecoder, registerDecoder } = mediabunny
  const added = Object.entries(codecs).map(async ([name, load]) => {
    const open = await load()
    class Decoder extends CustomAudioDecoder {
      #stream: Stream | undefined

      static override supports(codec: AudioCodec): boolean {
        return codec === name
      }

      init(): void {}

      // mediabunny does not catch all that is thrown here.
      async decode(packet: EncodedPacket): Promise<void> {
        try {
          await this.#decode(packet)
        } catch (error) {
          this.onError(error)
        }
      }

      async #decode({ data, timestamp }: EncodedPacket): Promise<void> {
        progress()
        this.#stream ??= await open(this.config, timestamp === 0)
        const { channelData, samplesDecoded, sampleRate, errors } = await this.#stream.decode(data)
        if (errors.length > 0) throw new Error('a packet is damaged')
        if (samplesDecoded === 0) return
        this.onSample(
          new AudioSample({
            ...{ data: joinFloats(channelData), format: 'f32-planar', timestamp },
            ...{ numberOfChannels: channelData.length, sampleRate },
          }),
        )
      }

      flush(): void {
        this.close()
      }

      close(): void {
        try {
          this.#stream?.free()
        } catch {
          // A library that has trapped once traps again. Its memory goes with it.
        }
        this.#stream = undefined
      }
    }
    registerDecoder(Decoder)
  })
  await Promise.allSettled(added)
}

/** Where the channels of WAVE's order are among those of Vorbis, which Opus has too: the third is the one on the right. */
const vorbisOrder: Readonly<Record<number, readonly number[]>> = {
  3: [0, 2, 1],
  5: [0, 2, 1, 3, 4],
  6: [0, 2, 1, 5, 3, 4],
  7: [0, 2, 1, 6, 5, 3, 4],
  8: [0, 2, 1, 7, 5, 6, 3, 4],
}

const inOrder = (decoded: Decoded, order: readonly number[] | undefined): Decoded =>
  order === undefined
    ? decoded
    : {
        ...decoded,
        channelData: order.map((at) => decoded.channelData[at] ?? new Float32Array(decoded.samplesDecoded)),
      }

/** Of the header of Ogg Opus (RFC 7845), which other containers keep as well. */
function opusOptions({ description, numberOfChannels }: AudioDecoderConfig, isStart: boolean) {
  const header = description === undefined ? null : bytesOf(description)
  if (header === null || header.length < 19) return { channels: numberOfChannels, preSkip: 0, order: undefined }
  const channels = header.readUInt8(9)
  // What the codec needs to begin, and nobody should hear.
  const preSkip = isStart ? header.readUInt16LE(10) : 0
  if (header.readUInt8(18) === 0) return { channels, preSkip, order: undefined }
  const [streamCount, coupledStreamCount] = [header.readUInt8(19), header.readUInt8(20)]
  const channelMappingTable = [...header.subarray(21, 21 + channels)]
  return { channels, preSkip, streamCount, coupledStreamCount, channelMappingTable, order: vorbisOrder[channels] }
}

/** The first and third of Vorbis's headers, which are in a row, with the lengths of the first two in the way of Xiph before them. */
function vorbisHeaders({ description }: AudioDecoderConfig): { identification: Uint8Array; setup: Uint8Array } {
  const all = description === undefined ? Buffer.alloc(0) : bytesOf(description)
  let at = 1
  const length = (): number => {
    let sum = 0
    for (let byte = 255; byte === 255; sum += byte) byte = all.readUInt8(at++)
    return sum
  }
  const [first, second] = [length(), length()]
  return { identification: all.subarray(at, at + first), setup: all.subarray(at + first + second) }
}

const bytesOf = (source: NonNullable<AudioDecoderConfig['description']>): Buffer =>
  ArrayBuffer.isView(source)
    ? Buffer.from(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength)
    : Buffer.from(source as ArrayBuffer)
