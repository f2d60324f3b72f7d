import type { AttachmentKind } from '../attachments.ts'
import type { Ask, Attachment } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import { formatOfName } from '../file-names.ts'
import type { Media, Reader, SentFile, SentFiles } from '../media/index.ts'
import type { Readable } from './readable.ts'

/** An attachment of an ask as its target reads it. */
export interface PreparedAttachment extends Omit<SentFiles, 'files'> {
  readonly files: readonly PreparedFile[]
}

/**
 * A file in the request to the target, or one that the target fetches itself. Its base64 is ASCII that is copied into the body
 * (`body.ts`), and never made a string.
 */
export type PreparedFile = (SentFile & { readonly url?: undefined }) | FetchedFile

export interface FetchedFile {
  readonly url: string
  readonly base64?: undefined
}

/**
 * Fetches, checks and prepares all attachments of an ask, side by side, within the limits of media and in the client's turn.
 * What was prepared or fetched for the same signal is not prepared or fetched again: another target may be asked.
 * @param signal of the ask. The files stay in memory until it aborts.
 * @returns in the order of `ask.attachments`
 * @throws OrielError about the first attachment that fails; `param` is set. With `elsewhere` another target may read it
 */
export async function prepare(
  { attachments, client }: Pick<Ask, 'attachments' | 'client'>,
  readable: Readable,
  media: Media,
  signal: AbortSignal,
): Promise<PreparedAttachment[]> {
  if (attachments.length === 0) return []
  media.check(attachments)
  for (const attachment of attachments) readerOf(readable, attachment)
  const sources = attachments.filter((attachment) => !isLeft(attachment, readable))
  const bring = (limit: (reader: Reader) => Reader) =>
    media.files(
      sources,
      client,
      (source) => {
        const reader = readerOf(readable, source)
        return source.kind === 'image' ? limit(reader) : reader
      },
      signal,
    )

  let brought = await bring((reader) => reader)
  const edge = edgeFor(brought, readable)
  const sized = (reader: Reader): Reader => ({ ...reader, longestEdge: smaller(reader.longestEdge, edge) })
  if (edge !== null) brought = await bring(sized)
  const room = roomForImage(brought, readable)
  if (room !== null)
    brought = await bring((reader) => ({ ...sized(reader), mostBytes: Math.min(reader.mostBytes, room) }))
  checkTogether(brought, sources, readable)

  const files = new Map(sources.map((source, index) => [source, brought[index]]))
  return attachments.map((attachment) => files.get(attachment) ?? left(attachment))
}

/** @throws OrielError `invalid` if the API has no place for it */
function readerOf(readable: Readable, { kind, param }: Pick<Attachment, 'kind' | 'param'>): Reader {
  const reader = readable[kind]
  if (reader !== null) return reader
  const taken = (['image', 'video', 'audio'] as const).filter((one) => readable[one] !== null).map((one) => nouns[one])
  throw new OrielError(
    'invalid',
    `The server that has the model takes no ${nouns[kind]}. It takes ${taken.join(' and ')}.`,
    { param, code: `${kind}_not_supported`, elsewhere: true },
  )
}

const nouns: Readonly<Record<AttachmentKind, string>> = { image: 'images', video: 'video', audio: 'audio' }

/** Whether the target fetches it: not if only a part is wanted of it, or its name says that the target cannot read it. */
function isLeft({ kind, url, pages, clip, frames }: Attachment, readable: Readable): boolean {
  if (!readable.fetchesUrls || url === undefined || !/^https?:/i.test(url)) return false
  const reader = readable[kind]
  const format = formatOfName(url)
  const isPart = pages !== undefined || ((clip !== undefined || frames !== undefined) && !reader?.selects)
  return !isPart && (format === undefined || reader?.formats.includes(format) === true)
}

const left = ({ kind, url = '' }: Attachment): PreparedAttachment => ({
  ...{ kind, files: [{ url }], asFrames: false, fetchMs: 0, decodeMs: 0 },
})

const bytesOf = ({ base64 }: SentFile): number => (base64.length / 4) * 3
const filesOf = (brought: readonly SentFiles[], isWanted: (kind: AttachmentKind) => boolean): number[] =>
  brought.filter(({ kind }) => isWanted(kind)).flatMap(({ files }) => files.map(bytesOf))
const sum = (sizes: readonly number[]): number => sizes.reduce((total, size) => total + size, 0)

/** The edge that each of many images may have. Null: what it has. */
const edgeFor = (brought: readonly SentFiles[], { manyImages }: Readable): number | null =>
  manyImages !== null && filesOf(brought, (kind) => kind === 'image').length > manyImages.above
    ? manyImages.longestEdge
    : null

const smaller = (one: number | null, other: number | null): number | null =>
  one === null || other === null ? (one ?? other) : Math.min(one, other)

/** The bytes that each image may have, so that all of them fit: small ones leave their room to the others. Null: they fit. */
function roomForImage(brought: readonly SentFiles[], { mostBytesTogether }: Readable): number | null {
  let room = mostBytesTogether - sum(filesOf(brought, (kind) => kind !== 'image'))
  const images = filesOf(brought, (kind) => kind === 'image').toSorted((a, b) => a - b)
  for (const [index, size] of images.entries()) {
    const share = Math.floor(room / (images.length - index))
    if (size > share) return Math.max(0, share)
    room -= size
  }
  return null
}

/** @throws OrielError `too_large` about the largest one */
function checkTogether(brought: readonly SentFiles[], sources: readonly Attachment[], readable: Readable): void {
  const sizes = brought.map(({ files }) => sum(files.map(bytesOf)))
  const total = sum(sizes)
  const most = readable.mostBytesTogether
  if (total <= most) return
  throw new OrielError(
    'too_large',
    `The attachments of the request are too large for the server that has the model: ${Math.ceil(total)} bytes; at most ${most} are allowed in total.`,
    {
      param: sources[sizes.indexOf(Math.max(...sizes))]?.param,
      ...{ code: 'attachments_too_large', elsewhere: true },
    },
  )
}
