import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { AttachmentSource } from '../media/index.ts'
import type { Ask, Attachment } from './ask.ts'

/** What an engine may have kept of a request: the beginnings of its prompt, and its attachments. */
export interface Traces {
  /** Names of growing beginnings of the prompt, with their length in characters. */
  readonly beginnings: readonly { readonly name: string; readonly length: number }[]
  /** Names of its attachments. */
  readonly attachments: readonly string[]
  /** The name of what its client says belongs together. */
  readonly affinity: string | null
}

export const noTraces: Traces = { beginnings: [], attachments: [], affinity: null }

/** Names that are remembered of each replica. */
const mostNames = 4096
/**
 * An image or a sound that is encoded again takes about as long as so many characters that are read again. What a client says
 * counts as much.
 */
const attachmentLength = 4000
/**
 * The most requests that one of several engines may have because it has seen their prompts: 1.25 times its part, and two, which
 * it answers together sooner than another one that has seen nothing.
 * @param share its part of all requests, above 0 and at most 1
 */
export const mostLoad = (requests: number, share: number): number => Math.max(2, Math.ceil(1.25 * requests * share))

/** A replica with the requests that it answers or that wait for it. */
interface Loaded {
  readonly load: number
}

/** Gives requests to the replica that has seen their prompt or their attachments, unless it is overloaded. */
export class Router<Replica extends Loaded> {
  readonly #seen = new WeakMap<Replica, LRUCache<string, true>>()

  /** @param replicas at least one */
  choose(replicas: readonly [Replica, ...Replica[]], traces: Traces): Replica {
    const total = replicas.reduce((sum, { load }) => sum + load, 0)
    const most = mostLoad(total + 1, 1 / replicas.length)
    let best = replicas[0]
    let [bestScore, bestLoad] = [-1, Number.POSITIVE_INFINITY]
    for (const replica of replicas) {
      if (replica.load + 1 > most) continue
      const score = this.#score(replica, traces)
      if (score > bestScore || (score === bestScore && replica.load < bestLoad))
        [best, bestScore, bestLoad] = [replica, score, replica.load]
    }
    const seen = this.#seenBy(best)
    for (const { name } of traces.beginnings) seen.set(name, true)
    for (const name of piecesOf(traces)) seen.set(name, true)
    return best
  }

  /** How much of a request it has seen, in characters. */
  #score(replica: Replica, traces: Traces): number {
    const seen = this.#seenBy(replica)
    const known = piecesOf(traces).filter((name) => seen.has(name)).length
    return known * attachmentLength + (traces.beginnings.findLast(({ name }) => seen.has(name))?.length ?? 0)
  }

  #seenBy(replica: Replica): LRUCache<string, true> {
    const seen = this.#seen.get(replica) ?? new LRUCache<string, true>({ max: mostNames })
    this.#seen.set(replica, seen)
    return seen
  }
}

const piecesOf = ({ attachments, affinity }: Traces): readonly string[] =>
  affinity === null ? attachments : [...attachments, affinity]

/** Beginnings of a prompt that are named: the first ones, which requests share. */
const mostBeginnings = 64
/** Characters of the texts of a message, all together, that its name follows from. */
const mostCharacters = 16_384

/**
 * Requests share nothing unless all of `isolation` is equal.
 * @param affinity what the client calls the requests that belong together
 */
export function tracesOf(
  prompt: Ask['prompt'],
  attachments: readonly (AttachmentSource & Partial<Pick<Attachment, 'detail'>>)[] = [],
  isolation: readonly string[] = [],
  affinity: string | null = null,
): Traces {
  const names = attachments.map((one) => nameOf(isolation, attachmentText(one)))
  const parts =
    prompt.kind === 'plain'
      ? prompt.parts.map((part) => [part])
      : prompt.messages.map(({ role, content }) => [{ kind: 'text' as const, text: role }, ...content])
  const tools = prompt.kind === 'chat' ? JSON.stringify(prompt.tools.map(({ name }) => name)) : ''
  const beginnings: { name: string; length: number }[] = []
  let [before, length] = [tools, 0]
  for (const part of parts.slice(0, mostBeginnings)) {
    const known: string[] = []
    let [left, beyond] = [mostCharacters, 0]
    for (const piece of part) {
      if ('attachment' in piece) {
        const name = names[piece.attachment] ?? ''
        known.push(name)
        length += name.length
        continue
      }
      const text = piece.kind === 'text' ? piece.text : piece.tokens.slice(0, mostCharacters).join()
      if (left > 0) known.push(text.slice(0, left))
      beyond += Math.max(0, text.length - left)
      left = Math.max(0, left - text.length)
      length += text.length
    }
    before = nameOf(isolation, [before, ...known, ...(beyond > 0 ? [String(beyond)] : [])])
    beginnings.push({ name: before, length })
  }
  return { beginnings, attachments: names, affinity: affinity === null ? null : nameOf(isolation, [affinity]) }
}

/** Pieces of a long file by which it is known here, and characters of each. Two files that look alike harm nobody. */
const [pieces, pieceLength] = [16, 64]

/** A file as it comes, or enough of it. */
function attachmentText({
  kind,
  url,
  bytes,
  loaded,
  pages,
  detail = 'auto',
}: AttachmentSource & Partial<Pick<Attachment, 'detail'>>): string[] {
  const data = url ?? bytes ?? loaded.sound.hash
  const part = (from: number, to: number): string =>
    typeof data === 'string' ? data.slice(from, to) : Buffer.from(data.subarray(from, to)).toString('base64')
  const { length } = data
  const step = Math.max(pieceLength, Math.floor(length / pieces))
  const texts = Array.from({ length: Math.min(pieces, Math.ceil(length / step)) }, (_, at) =>
    part(at * step, at * step + pieceLength),
  )
  return [kind, detail, String(pages), String(length), ...texts, part(Math.max(0, length - pieceLength), length)]
}

const nameOf = (isolation: readonly string[], texts: readonly string[]): string =>
  createHash('sha1')
    .update(JSON.stringify([isolation, ...texts]))
    .digest('base64')
