import sharp from 'sharp'
import { OrielError } from '../../../errors.ts'
import { type FileOut, type Opened, partOfFile } from '../parts.ts'
import { type FileHeader, soundRate, type WantedFile } from '../protocol.ts'
import { jpeg } from '../write.ts'

/**
 * A video or audio for a program that reads files: as it came, or the sound as WAV, or the frames as images.
 * @param bytes null for a list of images, which is no file
 * @throws OrielError if the program cannot read what is wanted of it
 */
export function asFile(opened: Opened, bytes: Buffer | null, as: WantedFile): Opened<FileOut> {
  const { header } = opened
  const isReadable = bytes !== null && as.formats.includes(header.format)
  const goesOn = isReadable && as.whole
  if (goesOn && bytes.length > as.mostBytes) throw tooLarge(header, bytes.length, as)
  if (header.kind === 'video' && !goesOn && !as.frames) throw isReadable ? onlyWhole() : unreadable(header.format, as)
  return {
    header,
    async *parts() {
      if (goesOn) yield partOfFile(header.format, bytes)
      else
        for await (const { head, data } of opened.parts()) {
          const { format, file } =
            head.kind === 'image'
              ? { format: 'jpeg', file: await jpeg(imageOf(head, data), frameQuality) }
              : { format: 'wav', file: wavOf(new Float32Array(data.buffer, data.byteOffset, head.samples)) }
          if (format === 'wav' && file.length > as.mostBytes) throw tooLarge(header, file.length, as)
          yield partOfFile(format, file)
        }
    },
    close: () => opened.close(),
  }
}

const frameQuality = 90

const imageOf = ({ width, height }: { width: number; height: number }, rgb: Uint8Array) =>
  sharp(rgb, { limitInputPixels: false, raw: { width, height, channels: 3 } })

/** Mono, 16 bits. */
function wavOf(samples: Float32Array): Buffer {
  const data = Int16Array.from(samples, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32_767))
  const head = Buffer.alloc(44)
  head.write('RIFF')
  head.writeUInt32LE(36 + data.byteLength, 4)
  head.write('WAVEfmt ', 8)
  // The length of what follows; integers; one channel; bytes a second; bytes and bits of a sample.
  for (const [at, value] of [
    [20, 1],
    [22, 1],
    [32, 2],
    [34, 16],
  ] as const)
    head.writeUInt16LE(value, at)
  head.writeUInt32LE(16, 16)
  head.writeUInt32LE(soundRate, 24)
  head.writeUInt32LE(soundRate * 2, 28)
  head.write('data', 36)
  head.writeUInt32LE(data.byteLength, 40)
  return Buffer.concat([head, Buffer.from(data.buffer)])
}

const tooLarge = ({ kind, format }: FileHeader, bytes: number, { mostBytes }: WantedFile): OrielError =>
  new OrielError(
    'too_large',
    `The ${kind} is too large for the server that has the model: ${bytes} bytes of ${format}; at most ${mostBytes} are allowed.`,
    { code: `${kind}_too_large`, elsewhere: true },
  )

const onlyWhole = (): OrielError =>
  new OrielError(
    'invalid',
    'The server that has the model reads videos only as a whole: it takes no clip and no choice of frames. Send the part of the video that is meant.',
    { code: 'selection_not_supported', elsewhere: true },
  )

const unreadable = (format: string, { formats }: WantedFile): OrielError =>
  new OrielError(
    'unsupported_media',
    `The server that has the model does not read videos as ${format === 'frames' ? 'a list of images' : format}. It reads ${formats.join(', ')}.`,
    { code: 'unsupported_video', elsewhere: true },
  )
