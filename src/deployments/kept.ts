import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { z } from 'zod'
import { OrielError } from '../errors.ts'
import { parseJson } from '../json.ts'
import type { Logger } from '../log.ts'

/** A thing that is kept by name, as JSON. */
export interface KeptResource {
  readonly kind: string
  readonly account: string
  readonly id: string
  /** Higher after each change. */
  readonly revision: number
  readonly body: string
}

/** Where deployments are kept. Each change is whole or not at all, also if the process is killed. */
export interface ResourceStore {
  /** @throws OrielError `overloaded` while the store is cut off, as everything here does */
  list(kind: string): Promise<readonly KeptResource[]>
  /** @returns whether there was none of this name */
  insert(resource: Omit<KeptResource, 'revision'>): Promise<boolean>
  /** @param resource with the revision that it has: another one was made by somebody else. @returns whether it was replaced */
  replace(resource: KeptResource): Promise<boolean>
  remove(name: Pick<KeptResource, 'kind' | 'account' | 'id'>): Promise<void>
}

/** How a thing is called: `account/id`. Times are in ms since 1970. */
export interface Item {
  readonly account: string
  readonly id: string
  readonly created: number
  /** When somebody changed it last. */
  readonly updated: number
}

export type Name = Pick<Item, 'account' | 'id'>

/** The name of a thing among those of all accounts. */
export const keyOf = ({ account, id }: Name): string => `${account}/${id}`

interface KeptOptions<Kept extends Item> {
  kind: string
  schema: z.ZodType<Kept>
  /** What errors say. */
  noun: string
  /** Of all accounts together. */
  most: number
  /** What this server makes of what it reads, if it has another. */
  merge?: (before: Kept, read: Kept) => Kept
  log: Logger
}

/** Things that are read in one turn of the event loop, and their characters. */
const readAtOnce = { things: 100, characters: 200_000 }
/** Of one change, with other servers that change the same. */
const mostAttempts = 5

/** Things of one kind, as a store has them. Servers with the same store see the changes of others by `reload`. */
export class Keeper<Kept extends Item> {
  readonly #store: ResourceStore
  readonly #options: KeptOptions<Kept>
  #entries = new Map<string, { readonly item: Kept; readonly revision: number }>()
  readonly #unread = new Set<string>()
  #last: Promise<void> = Promise.resolve()

  constructor(store: ResourceStore, options: KeptOptions<Kept>) {
    this.#store = store
    this.#options = options
  }

  /** The oldest first. */
  list(): Kept[] {
    return [...this.#entries.values()]
      .map(({ item }) => item)
      .toSorted((a, b) => a.created - b.created || (keyOf(a) < keyOf(b) ? -1 : 1))
  }

  /** undefined: there is none of this name. */
  known(name: Name): Kept | undefined {
    return this.#entries.get(keyOf(name))?.item
  }

  /** @throws OrielError `not_found` */
  find(name: Name): Kept {
    return this.#entryOf(name).item
  }

  /** @throws OrielError `conflict` if there is one of this name; `precondition_failed` if there are too many */
  checkNew(name: Name): void {
    if (this.#entries.has(keyOf(name))) throw this.#exists(name.id)
    if (this.#entries.size >= this.#options.most) throw this.#tooMany()
  }

  /** @param check what else may speak against it now, when it is its turn @throws OrielError as `checkNew` and `check` do */
  create(item: Kept, check = (): void => {}): Promise<void> {
    return this.#inTurn(async () => {
      this.checkNew(item)
      check()
      if (!(await this.#store.insert({ ...this.#nameOf(item), body: JSON.stringify(item) }))) {
        await this.#read()
        throw this.#exists(item.id)
      }
      this.#entries.set(keyOf(item), { item, revision: 1 })
    })
  }

  /**
   * @param change makes the new one. It is asked again if another server has changed it meanwhile
   * @throws OrielError `not_found`; what `change` throws
   */
  change(name: Name, change: (before: Kept) => Kept): Promise<Kept> {
    return this.#inTurn(async () => {
      for (let attempt = 1; attempt <= mostAttempts; attempt++) {
        const { item: before, revision } = this.#entryOf(name)
        const item = { ...change(before), updated: Math.max(Date.now(), before.updated + 1) }
        if (await this.#replace(item, revision)) return item
        await this.#read()
      }
      throw changing(name.id)
    })
  }

  /** Keeps what has come about by itself, unless somebody has changed it meanwhile. */
  note(name: Name, change: (before: Kept) => Kept): Promise<void> {
    return this.#inTurn(async () => {
      const entry = this.#entries.get(keyOf(name))
      const item = entry && change(entry.item)
      if (item !== undefined && item !== entry?.item) await this.#replace(item, entry?.revision ?? 0)
    })
  }

  /** @throws OrielError `not_found` */
  remove(name: Name): Promise<void> {
    return this.#inTurn(async () => {
      this.#entryOf(name)
      await this.#store.remove(this.#nameOf(name))
      this.#entries.delete(keyOf(name))
    })
  }

  /**
   * Reads the store again.
   * @param isOver of what is removed
   * @param onOver is awaited before one of these is removed
   */
  reload(
    isOver: (item: Kept) => boolean = () => false,
    onOver: (item: Kept) => Promise<void> = async () => {},
  ): Promise<void> {
    return this.#inTurn(async () => {
      await this.#read()
      for (const { item } of this.#entries.values()) {
        if (!isOver(item)) continue
        await onOver(item)
        await this.#store.remove(this.#nameOf(item))
        this.#entries.delete(keyOf(item))
      }
    })
  }

  /** What cannot be read stays in the store, and is not there. */
  async #read(): Promise<void> {
    const { kind, schema, noun, merge, log } = this.#options
    const entries = new Map<string, { item: Kept; revision: number }>()
    let [things, characters] = [0, 0]
    for (const { revision, body, account, id } of await this.#store.list(kind)) {
      characters += body.length
      if (++things >= readAtOnce.things || characters > readAtOnce.characters) {
        await nextTurn()
        things = characters = 0
      }
      const read = schema.safeParse(parseJson(body))
      const key = keyOf({ account, id })
      if (!read.success) {
        if (!this.#unread.has(key)) log.warn({ account, id }, `a ${noun} cannot be read`)
        this.#unread.add(key)
        continue
      }
      const before = this.#entries.get(key)?.item
      entries.set(key, { revision, item: before === undefined ? read.data : (merge?.(before, read.data) ?? read.data) })
    }
    this.#entries = entries
  }

  async #replace(item: Kept, revision: number): Promise<boolean> {
    if (!(await this.#store.replace({ ...this.#nameOf(item), revision, body: JSON.stringify(item) }))) return false
    this.#entries.set(keyOf(item), { item, revision: revision + 1 })
    return true
  }

  #entryOf(name: Name) {
    const entry = this.#entries.get(keyOf(name))
    if (entry === undefined) throw notKept(this.#options.noun, name.id)
    return entry
  }

  #nameOf({ account, id }: Name) {
    return { kind: this.#options.kind, account, id }
  }

  /** One after the other: what is read of the store must not undo what was written meanwhile. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act)
    this.#last = done.then(
      () => {},
      () => {},
    )
    return done
  }

  #exists(id: string): OrielError {
    const { noun } = this.#options
    return new OrielError('conflict', `There is a ${noun} ${id} already.`, { code: `${codeOf(noun)}_exists` })
  }

  #tooMany(): OrielError {
    const { noun, most } = this.#options
    return new OrielError(
      'precondition_failed',
      `There are ${most} ${noun}s, with those that are deleted. There can be no more.`,
      {
        code: `too_many_${codeOf(noun)}s`,
      },
    )
  }
}

/** @param param names the id in a request @throws OrielError `invalid` for what cannot be the id of a thing that is kept */
export function checkId(id: string, noun: string, param: string): void {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(id))
    throw new OrielError(
      'invalid',
      `The id of a ${noun} has 1 to 63 small letters, digits and '-', with a letter or a digit at both ends.`,
      { param, code: `bad_${codeOf(noun)}_id` },
    )
}

/** An id for what has got none: so many letters and digits. */
export const randomId = (length: number): string =>
  BigInt(`0x${randomBytes(length).toString('hex')}`)
    .toString(36)
    .padStart(length, '0')
    .slice(-length)

const codeOf = (noun: string): string => noun.replace(' ', '_')

export const notKept = (noun: string, id: string): OrielError =>
  new OrielError('not_found', `There is no ${noun} ${JSON.stringify(id.slice(0, 100))}.`, {
    code: `${codeOf(noun)}_not_found`,
  })

const changing = (id: string): OrielError =>
  new OrielError('overloaded', `${id} is being changed by others. Try again.`, { retryAfter: 1 })
