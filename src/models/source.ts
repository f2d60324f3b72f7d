import { stat } from 'node:fs/promises'
import { OrielError } from '../errors.ts'
import { catalogue, entryOf } from './catalogue.ts'

export interface HubSource {
  kind: 'hub'
  repo: string
  revision: string
  /** `Q4_K_M`; null for the preferred one. */
  quant: string | null
  /** The path of the decoder in the repository; null to choose it by the quantization. */
  file: string | null
}

/** A file on any other server, and its name. */
export interface UrlSource {
  kind: 'url'
  url: URL
  name: string
}

export type Source = HubSource | UrlSource | { kind: 'file'; file: string }

/**
 * The source that a name stands for: a file of this machine, a URL, an entry of the catalogue or a repository.
 * @param endpoint of the hub, whose URLs are repositories
 * @throws OrielError `not_found` or `invalid` if the name stands for none of these
 */
export async function sourceOf(name: string, endpoint: string): Promise<Source> {
  if (/^https?:/i.test(name)) return sourceOfUrl(name, endpoint)
  if (/\.gguf$/i.test(name) && (await isFile(name))) return { kind: 'file', file: name }
  return inHub(name)
}

/**
 * What a name stands for on the hub, whatever files this machine has: other servers and files are for its own people only.
 * @throws OrielError as `sourceOf` does
 */
export function hubSourceOf(name: string, endpoint: string): HubSource {
  const source = /^https?:/i.test(name) ? sourceOfUrl(name, endpoint) : inHub(name)
  if (source.kind === 'hub') return source
  throw new OrielError('invalid', `${name} is on another server than the hub.`, { code: 'not_on_hub' })
}

/** @throws OrielError as `sourceOf` does */
function inHub(name: string): HubSource {
  const [, short = name, quant] = /^(.*?)(?::([\w-]+))?$/.exec(name) ?? []
  const entry = entryOf(short)
  if (entry !== undefined) return inRepo(entry.repo, { quant: quant ?? null })
  const [, repo, file] = /^([^/]+\/[^/]+)(?:\/(.+\.gguf))?$/i.exec(short) ?? []
  if (repo !== undefined && isRepo(repo) && !/\.gguf$/i.test(repo))
    return inRepo(repo, { quant: quant ?? null, file: file ?? null })
  if (/\.gguf$/i.test(name)) throw new OrielError('not_found', `There is no file ${name}.`)
  const near = catalogue.map(({ id }) => id).filter((id) => id.startsWith(short.slice(0, 4).toLowerCase()))
  throw new OrielError(
    'not_found',
    `The catalogue has no ${short}${near.length > 0 ? ` (similar: ${near.join(', ')})` : ''}.`,
    { code: 'not_in_catalogue' },
  )
}

function sourceOfUrl(text: string, endpoint: string): HubSource | UrlSource {
  if (!URL.canParse(text)) throw new OrielError('invalid', `${text} is not a valid URL.`)
  const url = new URL(text)
  const hubs = ['huggingface.co', 'hf.co', new URL(endpoint).host]
  if (!hubs.includes(url.host)) {
    const name = decoded(url.pathname.slice(url.pathname.lastIndexOf('/') + 1))
    if (/\.gguf$/i.test(name)) return { kind: 'url', url, name }
    throw new OrielError('invalid', `${text} is neither a GGUF file nor a repository on the hub.`)
  }
  const [owner, name, kind, revision, ...file] = url.pathname.slice(1).split('/').map(decoded)
  if (!isRepo(`${owner}/${name}`) || (revision !== undefined && !/^\w[\w.-]*(\/\w[\w.-]*)*$/.test(revision)))
    throw new OrielError('invalid', `${text} does not name a repository: its path is not owner/repo.`)
  const within = { revision: revision || 'main', file: file.length > 0 && kind !== 'tree' ? file.join('/') : null }
  return inRepo(`${owner}/${name}`, within)
}

/** As the hub has them. In its cache, `--` stands for the slash: another repository would get the files. */
const isRepo = (repo: string): boolean =>
  /^\w[\w.-]*\/\w[\w.-]*$/.test(repo) && !/--|\.\./.test(repo) && repo.length <= longestRepo

/** Characters of the name of a repository. A folder has it as its name. */
const longestRepo = 200

/** Leaves a text with invalid percent escapes as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const inRepo = (repo: string, rest: Partial<HubSource>): HubSource => ({
  kind: 'hub',
  repo,
  revision: 'main',
  quant: null,
  file: null,
  ...rest,
})

const isFile = async (name: string): Promise<boolean> => (await stat(name).catch(() => null))?.isFile() ?? false
