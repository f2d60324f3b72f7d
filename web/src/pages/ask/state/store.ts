import { signal } from '@preact/signals'
import type { Conversation } from './conversation.ts'

/** Conversations and the files of their pictures, in this browser. */
type Store = 'conversations' | 'files'

/**
 * Whether what was to be kept was not: a private window may keep nothing, and a disk may be full. Everything works then,
 * and is forgotten with the page.
 */
export const isFull = signal(false)

/** Files that are not kept. */
const forgotten = new Map<string, Blob>()

export const allConversations = async (): Promise<Conversation[]> =>
  (await inStore<Conversation[]>('conversations', 'readonly', (store) => store.getAll())) ?? []

export const conversationOf = (id: string): Promise<Conversation | undefined> =>
  inStore<Conversation | undefined>('conversations', 'readonly', (store) => store.get(id))

/** @returns whether it is kept */
export async function saveConversation(conversation: Conversation): Promise<boolean> {
  const saved = await inStore('conversations', 'readwrite', (store) => store.put(conversation, conversation.id))
  isFull.value = saved === undefined || forgotten.size > 0
  return saved !== undefined
}

export async function saveFile(id: string, file: Blob): Promise<void> {
  const saved = await inStore('files', 'readwrite', (store) => store.put(file, id))
  if (saved !== undefined) return
  forgotten.set(id, file)
  isFull.value = true
}

export const fileOf = async (id: string): Promise<Blob | undefined> =>
  forgotten.get(id) ?? (await inStore<Blob | undefined>('files', 'readonly', (store) => store.get(id)))

export const fileIds = async (): Promise<string[]> =>
  ((await inStore('files', 'readonly', (store) => store.getAllKeys())) ?? []).map(String)

export async function remove(from: Store, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    if (from === 'files') forgotten.delete(id)
    await inStore(from, 'readwrite', (store) => store.delete(id))
  }
}

let opened: Promise<IDBDatabase | undefined> | undefined

/** undefined: nothing is kept here, or nothing was found. */
async function inStore<Result>(
  name: Store,
  mode: IDBTransactionMode,
  use: (store: IDBObjectStore) => IDBRequest<Result>,
): Promise<Result | undefined> {
  opened ??= open()
  const database = await opened
  if (database === undefined) return undefined
  return new Promise((resolve) => {
    try {
      const transaction = database.transaction(name, mode)
      const request = use(transaction.objectStore(name))
      // Where no room is left, a request succeeds before its transaction fails.
      transaction.oncomplete = () => resolve(request.result)
      transaction.onabort = () => resolve(undefined)
    } catch {
      resolve(undefined)
    }
  })
}

const open = (): Promise<IDBDatabase | undefined> =>
  new Promise((resolve) => {
    try {
      const request = indexedDB.open('oriel', 1)
      request.onupgradeneeded = () => {
        request.result.createObjectStore('conversations')
        request.result.createObjectStore('files')
      }
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => resolve(undefined)
    } catch {
      resolve(undefined)
    }
  })
