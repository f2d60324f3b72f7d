import type { Conversation } from './conversation.ts'

/**
 * Conversations and the files of their pictures, in this browser. Where a browser keeps nothing, as in some private
 * windows, everything works and is forgotten with the page.
 */
const forgotten = { conversations: new Map<string, Conversation>(), files: new Map<string, Blob>() }

type Store = keyof typeof forgotten

export const allConversations = async (): Promise<Conversation[]> =>
  (await inStore<Conversation[]>('conversations', 'readonly', (store) => store.getAll())) ?? [
    ...forgotten.conversations.values(),
  ]

export async function saveConversation(conversation: Conversation): Promise<void> {
  const saved = await inStore('conversations', 'readwrite', (store) => store.put(conversation, conversation.id))
  if (saved === undefined) forgotten.conversations.set(conversation.id, conversation)
}

export async function saveFile(id: string, file: Blob): Promise<void> {
  const saved = await inStore('files', 'readwrite', (store) => store.put(file, id))
  if (saved === undefined) forgotten.files.set(id, file)
}

export const fileOf = async (id: string): Promise<Blob | undefined> =>
  forgotten.files.get(id) ?? (await inStore<Blob | undefined>('files', 'readonly', (store) => store.get(id)))

export const fileIds = async (): Promise<string[]> =>
  ((await inStore('files', 'readonly', (store) => store.getAllKeys())) ?? []).map(String)

export async function remove(from: Store, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    forgotten[from].delete(id)
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
  return database && settled(() => use(database.transaction(name, mode).objectStore(name)))
}

function open(): Promise<IDBDatabase | undefined> {
  return settled(() => {
    const request = indexedDB.open('oriel', 1)
    request.onupgradeneeded = () => {
      request.result.createObjectStore('conversations')
      request.result.createObjectStore('files')
    }
    return request
  })
}

const settled = <Result>(begin: () => IDBRequest<Result>): Promise<Result | undefined> =>
  new Promise((resolve) => {
    try {
      const request = begin()
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => resolve(undefined)
    } catch {
      resolve(undefined)
    }
  })
