/**
 * What a packet says of its samples that may change within a track, such as how many channels there are. Nothing for codecs that
 * say it once for all.
 * @param codec as WebCodecs names it
 * @returns a text that is another one after a change
 */
export function shapeOf(codec: string, packet: Uint8Array): string {
  if (codec === 'mp3') return mp3Shape(packet)
  if (codec === 'flac') return flacShape(packet)
  return codec.startsWith('mp4a.40.') ? aacShape(packet) : ''
}

/** One channel or two. */
const mp3Shape = ([, , , flags = 0]: Uint8Array): string => (flags >> 6 === 3 ? 'mono' : 'stereo')

/** Channels, and the size of a sample. */
function flacShape([, , , flags = 0]: Uint8Array): string {
  const assignment = flags >> 4
  return `${assignment < 8 ? assignment + 1 : 2} ${(flags >> 1) & 7}`
}

/** The header of ADTS, if there is one, and the first element: a decoder believes an element of two channels rather than a header of one. */
function aacShape(packet: Uint8Array): string {
  const [sync = 0, version = 0, rate = 0, channels = 0] = packet
  if (sync !== 0xff || (version & 0xf6) !== 0xf0) return firstElement(packet, 0)
  const header = version & 1 ? 7 : 9
  return `${rate} ${channels >> 6} ${firstElement(packet, header)}`
}

/** Kinds of elements that hold no channel: data, and what fills. */
const [data, fill] = [4, 6]

/** The kind of the first element with a channel. @param from the byte at which elements begin */
function firstElement(packet: Uint8Array, from: number): string {
  let at = from * 8
  const read = (bits: number): number => {
    let value = 0
    for (let end = at + bits; at < end; at++) value = (value << 1) | (((packet[at >> 3] ?? 0) >> (7 - (at & 7))) & 1)
    return value
  }
  while (at < packet.length * 8) {
    const kind = read(3)
    if (kind === fill) {
      const count = read(4)
      at += 8 * (count === 15 ? count + read(8) - 1 : count)
    } else if (kind === data) {
      read(4)
      const isAligned = read(1) === 1
      const count = read(8)
      const bytes = count === 255 ? count + read(8) : count
      at = (isAligned ? Math.ceil(at / 8) * 8 : at) + 8 * bytes
    } else return String(kind)
  }
  return ''
}
