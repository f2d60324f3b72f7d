import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { ModelsConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { type ModelCard, readCard } from './card.ts'
import { type CatalogueEntry, entryOfRepo } from './catalogue.ts'
import { decodersOf, folderFor, type NamedDecoder, type NamedFile, projectorFor } from './file-names.ts'
import { projectorFacts } from './fit.ts'
import { parseGguf, readGguf } from './gguf.ts'
import { addToSnapshot, cacheFolder, placesOf, setRef } from './hub/cache.ts'
import { HubClient, type Listing, type RemoteFile } from './hub/client.ts'
import { checkSpace, copyTo, download, type Fetch, lockOf, missingBytes } from './hub/download.ts'
import { findLocal, idInRepo, ownFolder } from './library.ts'
import { type HubSource, sourceOf, type UrlSource } from './source.ts'

/** What is told while a model is fetched. */
export type PullEvent =
  | { type: 'plan'; name: string; files: readonly { path: string; bytes: number }[]; missing: number }
  | { type: 'bytes'; done: number; total: number; file: string }
  /** Somebody else's pull of the same file is waited for. */
  | { type: 'wait'; file: string }
  | { type: 'check'; file: string }
  | { type: 'retry'; why: string; seconds: number }

export interface PullOptions {
  config: ModelsConfig
  /** Families of vision encoders that can be run. */
  families: readonly string[]
  /** Fetch it although its family cannot be run. */
  anyway: boolean
  signal: AbortSignal
  onEvent(event: PullEvent): void
}

/**
 * Fetches a model, or what lacks of it, and checks that it can be served.
 * @param name an id of the catalogue, `owner/repo`, either with `:QUANT`, a URL, or a GGUF file of this machine
 * @throws OrielError in the words of a person at a terminal
 */
export async function pull(name: string, options: PullOptions): Promise<ModelCard> {
  const { config, signal, onEvent } = options
  const source = await sourceOf(name, config.hub.endpoint)
  const client = new HubClient(config.hub, (why, seconds) => onEvent({ type: 'retry', why, seconds }))
  try {
    if (source.kind === 'file') return await keep(source.file, options)
    if (config.hub.offline) return await offline(name, source.kind === 'hub' ? source : null, options)
    return source.kind === 'url' ? await pullUrl(client, source, options) : await pullRepo(client, source, options)
  } catch (error) {
    throw signal.aborted ? stopped() : told(error, config.hub.endpoint)
  } finally {
    await client.close()
  }
}

const stopped = () => new OrielError('cancelled', 'Stopped. What is here stays: the same command goes on from there.')

/** What the system says of a disk or a network, in the words of a person. */
function told(error: unknown, endpoint: string): unknown {
  if (error instanceof OrielError || !(error instanceof Error) || !('code' in error)) return error
  if (error.code === 'ENOSPC')
    return new OrielError('invalid', 'The disk is full. What is here stays: the same command goes on from there.')
  // Errors of files name one; those of a network do not.
  if ('path' in error)
    return new OrielError(
      'invalid',
      `${error.path} cannot be used: ${error.code}. HF_HUB_CACHE and --models-dir name other folders.`,
      { cause: error },
    )
  return new OrielError('internal', `${endpoint} cannot be asked: ${error.message}.`, { cause: error })
}

async function pullRepo(client: HubClient, source: HubSource, options: PullOptions): Promise<ModelCard> {
  const { config, signal } = options
  const entry = entryOfRepo(source.repo)
  if (entry !== undefined) checkFamily(entry.title, entry.family, options)
  const listing = await client.list(source.repo, source.revision, signal)
  const { decoder, projector } = chosen(listing, source, entry)
  const describe = ({ path: file }: NamedFile) => client.describe(source.repo, listing.commit, file, signal)
  const vision = projector === undefined ? null : await describe(projector)
  const cache = cacheFolder(config)
  if (vision !== null && entry === undefined)
    checkFamily(source.repo, await familyOf(client, vision, fetchOf(client, cache, vision), signal), options)
  // The vision file comes first: it is small, and what is wrong with a repository shows there.
  const files = [...(vision === null ? [] : [vision]), ...(await Promise.all(decoder.files.map(describe)))]
  const fetches = files.map((file) => fetchOf(client, cache, file))
  await fetchAll(client, source.repo, fetches, cache, options)
  for (const { path: file, etag } of files)
    await addToSnapshot(cache, source.repo, { commit: listing.commit, file, blob: etag })
  if (source.revision !== listing.commit) await setRef(cache, source.repo, source.revision, listing.commit)
  return readCard(await findLocal(idInRepo(source.repo, decoder), config))
}

/** The files of a repository that make a model. @throws OrielError `not_found` that names those there are */
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

/** The family that a vision file says it is of, from its first bytes; null where they do not reach. */
async function familyOf(
  client: HubClient,
  file: RemoteFile,
  fetch: Fetch,
  signal: AbortSignal,
): Promise<string | null> {
  const name = path.basename(file.path)
  if ((await missingBytes(fetch)) === 0) return projectorFacts(await readGguf(fetch.target), name).family
  return client.retried(file, signal, async () => {
    const { chunks } = await client.open(fetch.url, 0, Math.min(file.bytes, headerBytes), file, signal)
    const read: Buffer[] = []
    for await (const chunk of chunks) read.push(chunk)
    try {
      return projectorFacts(parseGguf(Buffer.concat(read), file.bytes), name).family
    } catch (error) {
      if (error instanceof OrielError) throw error
      return null
    }
  })
}

/** Headers of vision files have no vocabulary. */
const headerBytes = 1 << 20

/** @throws OrielError `invalid` where a family cannot be run, unless it is to be fetched anyway */
function checkFamily(title: string, family: string | null, { families, anyway }: PullOptions): void {
  if (family === null || families.includes(family) || anyway) return
  throw new OrielError(
    'invalid',
    `${title} has a vision encoder of the family ${family}, which this version does not run; it runs ${families.join(', ')}. --anyway fetches it all the same.`,
    { code: 'unsupported_model' },
  )
}

function fetchOf(client: HubClient, cache: string, { repo, commit, path: file, bytes, etag }: RemoteFile): Fetch {
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

async function fetchAll(
  client: HubClient,
  name: string,
  fetches: readonly Fetch[],
  folder: string,
  { signal, onEvent }: PullOptions,
): Promise<void> {
  const missing = (await Promise.all(fetches.map(missingBytes))).reduce((sum, bytes) => sum + bytes, 0)
  const nameOf = ({ what }: Fetch): string => what.path ?? what.repo
  onEvent({ type: 'plan', name, files: fetches.map((fetch) => ({ path: nameOf(fetch), bytes: fetch.bytes })), missing })
  if (missing > 0) await checkSpace(folder, missing)
  const total = fetches.reduce((sum, { bytes }) => sum + bytes, 0)
  let before = 0
  for (const fetch of fetches) {
    const file = nameOf(fetch)
    await download(client, fetch, {
      signal,
      onBytes: (done) => onEvent({ type: 'bytes', done: before + done, total, file }),
      onWait: () => onEvent({ type: 'wait', file }),
      onCheck: () => onEvent({ type: 'check', file }),
    })
    before += fetch.bytes
  }
}

/** What the cache has, where the hub may not be asked. */
async function offline(name: string, source: HubSource | null, { config }: PullOptions): Promise<ModelCard> {
  const wanted =
    source === null ? name : `${source.repo}${source.quant === null ? '' : `:${source.quant.toUpperCase()}`}`
  const model = await findLocal(wanted, config).catch(() => {
    throw new OrielError('not_found', `${wanted} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it.`)
  })
  return readCard(model)
}

/** How often a file that changes meanwhile is begun anew; the last time it is fetched in one piece. */
const mostVersions = 3

/** A single file of any server: put into the folder of models, with no hash to check. */
async function pullUrl(client: HubClient, { url, name }: UrlSource, options: PullOptions): Promise<ModelCard> {
  const { config, signal, onEvent } = options
  const id = folderFor(name)
  const folder = ownFolder(config)
  const target = path.join(folder, id, name)
  const what = { repo: url.host, path: name }
  const look = () =>
    client.retried(what, signal, async () => {
      // A range of one byte tells the length, where the server knows ranges.
      const { partial, totalBytes, validator, chunks } = await client.open(url.href, 0, 1, what, signal)
      for await (const _ of chunks) break
      return { bytes: totalBytes, validator: partial ? validator : null }
    })
  for (let version = 1; ; version++) {
    const { bytes, validator: found } = await look()
    if (bytes === null) throw new OrielError('invalid', `${url.host} does not say how long ${name} is.`)
    const validator = version < mostVersions ? found : null
    const fetch = { url: url.href, what, bytes, hash: null, validator, target, lock: lockOf(target) }
    try {
      await fetchAll(client, name, [fetch], folder, options)
      return await readCard({ id, aliases: [], decoder: target, projector: null })
    } catch (error) {
      const changed = error instanceof OrielError && error.code === 'file_changed'
      if (!changed || version === mostVersions) throw error
      onEvent({ type: 'retry', why: 'the file has changed', seconds: 0 })
    }
  }
}

/** Files of this machine, copied to the folder of models with the vision file that lies beside them. */
async function keep(file: string, options: PullOptions): Promise<ModelCard> {
  const folder = path.dirname(path.resolve(file))
  const stem = folderFor(path.basename(file))
  const there = (await readdir(folder)).map((name) => ({ path: name }))
  const parts = decodersOf(there).find((decoder) => decoder.stem === stem)?.files ?? [{ path: path.basename(file) }]
  const vision = projectorFor(there, stem)
  const cardIn = (place: string): Promise<ModelCard> =>
    readCard({
      id: stem,
      aliases: [],
      decoder: path.join(place, parts[0]?.path ?? ''),
      projector: vision === undefined ? null : path.join(place, vision.path),
    })
  // Everything is checked before anything is copied.
  await cardIn(folder)
  if (vision !== undefined)
    checkFamily(stem, projectorFacts(await readGguf(path.join(folder, vision.path)), vision.path).family, options)
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
