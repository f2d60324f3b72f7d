import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Ask, mostLoad, tracesOf } from '../deployments/index.ts'
import type { Target } from './target.ts'

/**
 * Names of what an engine may have computed for a request already, from the widest to the narrowest. The first one decides
 * where it is asked, if no engine has seen any.
 */
export type Affinity = readonly string[]

/**
 * The first name is that of the client (`prompt_cache_key`), else of the attachments of the first question, so that all
 * questions about a picture go to the engine that has it, else of the chat up to its first question. The others are of the
 * chat up to its first question and up to each message after it: a chat stays where it is. System texts alone decide nothing:
 * chats share them, and every engine has them soon.
 */
export function affinityOf({ prompt, attachments, settings }: Ask): Affinity {
  const traces = tracesOf(prompt, attachments, settings.isolation, settings.affinity)
  const first = prompt.kind === 'chat' ? Math.max(0, prompt.messages.findIndex(isQuestion)) : 0
  const turns = traces.beginnings.slice(first).map(({ name }) => name)
  const content = prompt.kind === 'chat' ? prompt.messages[first]?.content : prompt.parts
  const shown = content?.flatMap((part) => ('attachment' in part ? (traces.attachments[part.attachment] ?? []) : []))
  const widest = traces.affinity ?? shown?.join()
  return widest ? [widest, ...turns] : turns
}

const isQuestion = ({ role }: { readonly role: string }): boolean => role === 'user'

/** Names that are remembered of what was asked elsewhere than at its first place. */
const mostNames = 16_384

export interface Candidate {
  readonly target: Target
  /** Requests that its upstream answers. */
  readonly load: number
}

/**
 * Chooses by rendezvous hashing: each name has an order of the targets, in which each target's place does not depend on the
 * others. One that is too busy is passed over. What went elsewhere than to its first place is remembered, so that the rest of a
 * chat follows it.
 */
export class Places {
  readonly #elsewhere = new LRUCache<string, string>({ max: mostNames })

  /**
   * @param targets all of the model, also those that do not work at present
   * @param candidates of them; at least one
   */
  choose(targets: readonly Target[], candidates: readonly [Candidate, ...Candidate[]], affinity: Affinity): Target {
    const [widest = ''] = affinity
    const inOrder = ranked(targets, widest)
    const free = new Set(withinBound(candidates).map(({ target }) => target))
    const places = affinity.map((name) => this.#elsewhere.get(name))
    const seenAt = places.findLast((place) => place !== undefined)
    const follows = inOrder.find((target) => free.has(target) && nameOf(target) === seenAt)
    const chosen = follows ?? inOrder.find((target) => free.has(target)) ?? candidates[0].target
    for (const name of affinity)
      if (chosen === inOrder[0]) this.#elsewhere.delete(name)
      else this.#elsewhere.set(name, nameOf(chosen))
    return chosen
  }
}

/** Those that may have one request more: at least one. */
function withinBound(candidates: readonly Candidate[]): Candidate[] {
  const requests = candidates.reduce((sum, { load }) => sum + load, 1)
  const weights = candidates.reduce((sum, { target }) => sum + target.weight, 0)
  return candidates.filter(({ target, load }) => load < mostLoad(requests, target.weight / weights))
}

/** By rendezvous hashing with weights: a target of twice the weight is first for twice as many names. */
function ranked(targets: readonly Target[], name: string): Target[] {
  const distances = new Map(targets.map((target) => [target, -Math.log(drawn(name, target)) / target.weight]))
  return targets.toSorted((a, b) => (distances.get(a) ?? 0) - (distances.get(b) ?? 0))
}

/** A number above 0 and below 1 that the two decide. */
function drawn(name: string, target: Target): number {
  const hash = createHash('sha1')
    .update(`${name}\n${nameOf(target)}`)
    .digest()
  return (hash.readUIntBE(0, 6) + 0.5) / 2 ** 48
}

/** The same in every gateway. */
const nameOf = ({ upstream, model }: Target): string => `${upstream.settings.url} ${model}`
