import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { ModelsConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { type GgufHeader, headerOf, parseHeader } from '../gguf/index.ts'
import { type PulledAdapter, peftAmong, pulledAdapter } from './adapter-pull.ts'
import { type ModelCard, readCard } from './card.ts'
import { type CatalogueEntry, entryOfRepo, familiesOf } from './catalogue.ts'
import { decodersOf, folderFor, type NamedDecoder, type NamedFile, projectorFor } from './file-names.ts'
import { canRun, type EncoderFamilies, type ProjectorFacts, projectorFacts, supports } from './fit.ts'
import { addToSnapshot, cacheFolder, placesOf, setRef } from './hub/cache.ts'
import { HubClient, type Listing, type RemoteFile } from './hub/client.ts'
import { checkSpace, copyTo, download, isComplete, lockOf, missingBytes, type Transfer } from './hub/download.ts'
import { findLocal, idInRepo, ownFolder } from './local.ts'
import { type HubSource, hubSourceOf, sourceOf, type UrlSource } from './source.ts'

export type PullEvent =
  | { type: 'plan'; name: string; files: readonly { path: string; bytes: number }[]; missing: number }
  | { type: 'bytes'; done: number; total: number; file: string }
  /** Another process pulls the same file, and this pull waits for it. */
  | { type: 'wait'; file: string }
  | { type: 'check'; file: string }
  | { type: 'retry'; why: string; seconds: number }

export interface PullOptions {
  /** Pull the model even if its family of vision encoders is not supported. */
  anyway: boolean
  /** Whether the name may stand for what is on the hub only. */
  fromHub?: boolean
  signal: AbortSignal
  onEvent(event: PullEvent): void
}

/** A pull with what it takes. */
export interface Pull extends PullOptions {
  config: ModelsConfig
  families: EncoderFamilies
}

/** See `Library.pull`. */
export async function pull(name: string, options: Pull): Promise<ModelCard | PulledAdapter> {
  const { config, fromHub, signal, onEvent } = options
  const { endpoint } = config.hub
  const source = fromHub ? hubSourceOf(name, endpoint) : await sourceOf(name, endpoint)
  const client = new HubClient(config.hub, (why, seconds) => onEvent({ type: 'retry', why, seconds }))
  try {
    if (source.kind === 'file') return await keep(source.file, options)
    if (config.hub.offline) return await offline(name, source.kind === 'hub' ? source : null, options)
    return source.kind === 'url' ? await pullUrl(client, source, options) : await pullRepo(client, source, options)
  } catch (error) {
    throw signal.aborted ? new OrielError('cancelled', `Stopped. ${resumable}`) : explained(error, endpoint)
  } finally {
    await client.close()
  }
}

const resumable = 'The downloaded part is kept: repeat the command to resume.'

/** Explains the system's errors of disks and networks. */
function explained(error: unknown, endpoint: string): unknown {
  if (error instanceof OrielError || !(error instanceof Error) || !('code' in error)) return error
  if (error.code === 'ENOSPC') return new OrielError('invalid', `The disk is full. ${resumable}`, { code: 'no_space' })
  // Only errors of files have a path.
  if ('path' in error)
    return new OrielError('invalid', `${error.path} cannot be used: ${error.code}.`, {
      code: 'unusable_folder',
      cause: error,
    })
  return new OrielError('internal', `${endpoint} cannot be reached: ${error.message}.`, { cause: error })
}

async function pullRepo(client: HubClient, source: HubSource, options: Pull): Promise<ModelCard | PulledAdapter> {
  const { config, signal } = options
  const entry = entryOfRepo(source.repo)
  const unknown =
    entry && !options.anyway ? familiesOf(entry).find((type) => !supports(options.families, type)) : undefined
  if (entry !== undefined && unknown !== undefined)
    throw unsupported(entry.title, unknown === entry.sees ? 'vision' : 'audio', unknown, options.families)
  const listing = await client.list(source.repo, source.revision, signal)
  const matrices = peftAmong(listing)
  if (matrices !== null) {
    return pullAdapter(client, source, listing, matrices, options)
  }
  const { decoder, projector } = chosen(listing, source, entry)
  if (entry === undefined && (await isRemoteAdapter(client, source, listing, decoder, options))) {
    const names = decoder.files.map((part) => part.path)
    return pullAdapter(client, source, listing, names, options)
  }
  const describe = ({ path: file }: NamedFile) => client.describe(source.repo, listing.commit, file, signal)
  const vision = projector === undefined ? null : await describe(projector)
  const cache = cacheFolder(config)
  if (vision !== null && entry === undefined)
    checkEncoders(source.repo, await encodersOf(client, vision, transferOf(client, cache, vision), options), options)
  // The vision file comes first: it is small, and an unsuitable repository is detected early.
  const files = vision === null ? [] : [vision]
  for (let from = 0; from < decoder.files.length; from += described)
    files.push(...(await Promise.all(decoder.files.slice(from, from + described).map(describe))))
  const transfers = files.map((file) => transferOf(client, cache, file))
  await downloadAll(client, source.repo, transfers, cache, options)
  for (const { path: file, etag } of files)
    await addToSnapshot(cache, source.repo, { commit: listing.commit, file, blob: etag })
  if (source.revision !== listing.commit) await setRef(cache, source.repo, source.revision, listing.commit)
  return readCard(await findLocal(idInRepo(source.repo, decoder), config), options.families)
}

/** Downloads the files of an adapter into the hub's cache. */
async function pullAdapter(
  client: HubClient,
  { repo, revision }: HubSource,
  { commit }: Listing,
  names: readonly string[],
  options: Pull,
): Promise<PulledAdapter> {
  const cache = cacheFolder(options.config)
  const files = await Promise.all(names.map((file) => client.describe(repo, commit, file, options.signal)))
  const transfers = files.map((file) => transferOf(client, cache, file))
  await downloadAll(client, repo, transfers, cache, options)
  for (const { path: file, etag } of files) await addToSnapshot(cache, repo, { commit, file, blob: etag })
  if (revision !== commit) await setRef(cache, repo, revision, commit)
  const pulled = await pulledAdapter(repo, options.config)
  if (pulled === null)
    throw new OrielError(
      'conflict',
      `${repo} was downloaded, but an adapter in a folder of models has its name. Rename that one.`,
    )
  return pulled
}

/** Whether a GGUF file of the hub is an adapter. Only one that may be by its name is asked: others have one question less. */
async function isRemoteAdapter(
  client: HubClient,
  { repo }: HubSource,
  { commit }: Listing,
  { files: [first] }: NamedDecoder<NamedFile>,
  { config, signal }: Pull,
): Promise<boolean> {
  if (first === undefined || !/lora|adapter/i.test(`${repo}/${first.path}`)) return false
  const file = await client.describe(repo, commit, first.path, signal)
  const header = await remoteHeader(client, file, transferOf(client, cacheFolder(config), file), signal)
  return header?.metadata.get('general.type') === 'adapter'
}

/** The files of a repository that make up a model. @throws OrielError `not_found` that names the files there are */
function chosen(
  { repo, paths }: Listing,
  { file, quant }: HubSource,
  entry: CatalogueEntry | undefined,
): { decoder: NamedDecoder<NamedFile>; projector: NamedFile | undefined } {
  const files = paths.map((name) => ({ path: name }))
  const decoders = decodersOf(files)
  if (decoders.length === 0) {
    const some = paths.slice(0, 8).join(', ')
    throw new OrielError(
      'not_found',
      `${repo} has no GGUF file of a model. ${paths.length > 0 ? `It has: ${some}${paths.length > 8 ? ', ...' : ''}. ` : ''}Repositories with GGUF files often end in -GGUF.`,
    )
  }
  const wanted = quant?.toUpperCase() ?? null
  const found =
    file !== null
      ? decoders.find((decoder) => decoder.files.some((part) => part.path === file))
      : wanted !== null
        ? decoders.find((decoder) => decoder.quant === wanted)
        : (decoders.find((decoder) => decoder.quant === entry?.quant) ?? decoders[0])
  if (found === undefined) {
    const names = decoders.map((decoder) => (file === null && decoder.quant) || decoder.files[0]?.path)
    throw new OrielError('not_found', `${repo} has no ${file ?? wanted}. It has: ${[...new Set(names)].join(', ')}.`)
  }
  return { decoder: found, projector: projectorFor(files, found.stem) }
}

/** What a projector says, by its first bytes; null if the header is longer. */
async function encodersOf(client: HubClient, file: RemoteFile, transfer: Transfer, { signal, families }: Pull) {
  const header = await remoteHeader(client, file, transfer, signal)
  return header === null ? null : projectorFacts(header, path.basename(file.path), families)
}

/** The header of a GGUF file of the hub, by its first bytes; null if it is longer. @throws OrielError `invalid` if it is damaged */
async function remoteHeader(
  client: HubClient,
  file: RemoteFile,
  transfer: Transfer,
  signal: AbortSignal,
): Promise<GgufHeader | null> {
  if (await isComplete(transfer)) return headerOf(transfer.target)
  return client.retried(file, signal, async () => {
    const { chunks } = await client.open(transfer.url, 0, Math.min(file.bytes, headerBytes), file, signal)
    const read: Buffer[] = []
    let left = headerBytes
    // A server without ranges sends all of it.
    for await (const chunk of chunks) {
      read.push(chunk)
      left -= chunk.length
      if (left <= 0) break
    }
    try {
      return parseHeader(Buffer.concat(read), file.bytes)
    } catch (error) {
      if (error instanceof OrielError) throw error
      return null
    }
  })
}

/** Parts of a model that are described at the same time: some have hundreds. */
const described = 8

/** The header of a vision file or of an adapter has no vocabulary. */
const headerBytes = 1 << 20

/** @throws OrielError `invalid` if no encoder of the file is supported, unless the model is to be pulled anyway */
function checkEncoders(title: string, facts: ProjectorFacts | null, { families, anyway }: Pull): void {
  if (facts === null || canRun(facts) || anyway) return
  const { vision, audio } = facts
  throw unsupported(title, vision === null ? 'audio' : 'vision', (vision ?? audio)?.family ?? '', families)
}

function unsupported(
  title: string,
  kind: 'vision' | 'audio',
  family: string,
  { images, audio }: EncoderFamilies,
): OrielError {
  const known = (kind === 'vision' ? images : audio).flatMap(({ types }) => types).join(', ')
  return new OrielError(
    'invalid',
    `${title} has ${kind === 'vision' ? 'a vision' : 'an audio'} encoder of the family ${family}, which this version does not support. It supports ${known}.`,
    { code: 'unsupported_family' },
  )
}

function transferOf(client: HubClient, cache: string, { repo, commit, path: file, bytes, etag }: RemoteFile): Transfer {
  const { blobs, locks } = placesOf(cache, repo)
  return {
    url: client.urlOf(repo, commit, file),
    what: { repo, revision: commit, path: file },
    bytes,
    hash: etag,
    validator: null,
    target: path.join(blobs, etag),
    lock: path.join(locks, `${etag}.oriel.lock`),
  }
}

async function downloadAll(
  client: HubClient,
  name: string,
  transfers: readonly Transfer[],
  folder: string,
  { signal, onEvent }: Pull,
): Promise<void> {
  const missing = (await Promise.all(transfers.map(missingBytes))).reduce((sum, bytes) => sum + bytes, 0)
  const nameOf = ({ what }: Transfer): string => what.path ?? what.repo
  onEvent({
    type: 'plan',
    name,
    files: transfers.map((transfer) => ({ path: nameOf(transfer), bytes: transfer.bytes })),
    missing,
  })
  if (missing > 0) await checkSpace(folder, missing)
  const total = transfers.reduce((sum, { bytes }) => sum + bytes, 0)
  let before = 0
  for (const transfer of transfers) {
    const file = nameOf(transfer)
    await download(client, transfer, {
      signal,
      onBytes: (done) => onEvent({ type: 'bytes', done: before + done, total, file }),
      onWait: () => onEvent({ type: 'wait', file }),
      onCheck: () => onEvent({ type: 'check', file }),
    })
    before += transfer.bytes
  }
}

/** The model in the cache, without asking the hub. */
async function offline(
  name: string,
  source: HubSource | null,
  { config, families }: Pull,
): Promise<ModelCard | PulledAdapter> {
  const wanted =
    source === null ? name : `${source.repo}${source.quant === null ? '' : `:${source.quant.toUpperCase()}`}`
  const adapter = source && (await pulledAdapter(source.repo, config))
  if (adapter) return adapter
  const model = await findLocal(wanted, config).catch(() => {
    throw new OrielError('not_found', `${wanted} is not in the cache, and downloads are off.`, { code: 'offline' })
  })
  return readCard(model, families)
}

/** Attempts for a file that changes while it is downloaded. The last attempt downloads it in one piece. */
const maxVersions = 3

/** A single file of any server. It goes to the folder of models, and there is no hash to check. */
async function pullUrl(client: HubClient, { url, name }: UrlSource, options: Pull): Promise<ModelCard> {
  const { config, signal, onEvent } = options
  const id = folderFor(name)
  const folder = ownFolder(config)
  const target = path.join(folder, id, name)
  const what = { repo: url.host, path: name }
  const look = () =>
    client.retried(what, signal, async () => {
      // The answer to a range of one byte has the length, if the server supports ranges.
      const { partial, totalBytes, validator, chunks } = await client.open(url.href, 0, 1, what, signal)
      for await (const _ of chunks) break
      return { bytes: totalBytes, validator: partial ? validator : null }
    })
  for (let version = 1; ; version++) {
    const { bytes, validator: found } = await look()
    if (bytes === null) throw new OrielError('invalid', `${url.host} does not send the length of ${name}.`)
    const validator = version < maxVersions ? found : null
    const transfer = { url: url.href, what, bytes, hash: null, validator, target, lock: lockOf(target) }
    try {
      await downloadAll(client, name, [transfer], folder, options)
      return await readCard({ id, aliases: [], decoder: target, projector: null }, options.families)
    } catch (error) {
      const changed = error instanceof OrielError && error.code === 'file_changed'
      if (!changed || version === maxVersions) throw error
      onEvent({ type: 'retry', why: 'The file has changed', seconds: 0 })
    }
  }
}

/** Files of this machine, copied to the folder of models with the vision file in the same folder. */
async function keep(file: string, options: Pull): Promise<ModelCard> {
  const { families } = options
  const folder = path.dirname(path.resolve(file))
  const stem = folderFor(path.basename(file))
  const present = (await readdir(folder)).map((name) => ({ path: name }))
  const parts = decodersOf(present).find((decoder) => decoder.stem === stem)?.files ?? [{ path: path.basename(file) }]
  const vision = projectorFor(present, stem)
  const cardIn = (place: string): Promise<ModelCard> =>
    readCard(
      {
        id: stem,
        aliases: [],
        decoder: path.join(place, parts[0]?.path ?? ''),
        projector: vision === undefined ? null : path.join(place, vision.path),
      },
      families,
    )
  // Everything is checked before anything is copied.
  await cardIn(folder)
  if (vision !== undefined)
    checkEncoders(stem, projectorFacts(await headerOf(path.join(folder, vision.path)), vision.path, families), options)
  const target = path.join(ownFolder(options.config), stem)
  if (target === folder) return cardIn(folder)
  const names = [...parts, ...(vision === undefined ? [] : [vision])].map((part) => part.path)
  const files = await Promise.all(
    names.map(async (name) => ({ path: name, bytes: (await stat(path.join(folder, name))).size })),
  )
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  options.onEvent({ type: 'plan', name: stem, files, missing: total })
  await checkSpace(target, total)
  for (const name of names)
    await copyTo(path.join(target, name), path.join(folder, name), options.signal, () =>
      options.onEvent({ type: 'wait', file: name }),
    )
  options.onEvent({ type: 'bytes', done: total, total, file: stem })
  return cardIn(target)
}
