import { computed, signal } from '@preact/signals'
import { stored } from '../../../stored.ts'
import { type Answer, type Conversation, filesOf, newId, noSettings, pathOf } from './conversation.ts'
import { allConversations, fileIds, remove, saveConversation } from './store.ts'

/** All that have begun, the last changed first. */
export const conversations = signal<readonly Conversation[]>([])
export const areLoaded = signal(false)

/** The models of the next conversation, as a list with commas. */
const lastModels = stored('oriel.models', '')
/** The conversation that was open last. */
const lastOpen = stored('oriel.conversation', '')

const fresh = (settings = noSettings): Conversation => ({
  id: newId(),
  title: '',
  changedAt: 0,
  models: lastModels.value === '' ? [] : lastModels.value.split(','),
  settings,
  turns: [],
  picked: {},
})

/** The one that is not asked anything yet: it is not in the list. */
const blank = signal(fresh())
const currentId = signal(lastOpen.value === '' ? blank.value.id : lastOpen.value)
export const current = computed(() => conversations.value.find(({ id }) => id === currentId.value) ?? blank.value)
export const path = computed(() => pathOf(current.value))

export function open(id: string): void {
  currentId.value = id
  lastOpen.value = id
}

export function startNew(): void {
  blank.value = fresh()
  currentId.value = blank.value.id
  lastOpen.value = ''
}

/** Changes a conversation wherever it is shown, and saves it: soon if more changes come, as while an answer arrives. */
export function update(
  id: string,
  change: (conversation: Conversation) => Conversation,
  when: 'now' | 'soon' = 'now',
): void {
  if (id === blank.value.id && !conversations.value.some((one) => one.id === id)) {
    blank.value = change(blank.value)
    lastModels.value = blank.value.models.join(',')
    if (blank.value.turns.length === 0) return
    conversations.value = [{ ...blank.value, changedAt: Date.now() }, ...conversations.value]
    lastOpen.value = id
  } else {
    const before = conversations.value.find((one) => one.id === id)
    if (before === undefined) return
    const after = { ...change(before), changedAt: Date.now() }
    // What is asked now comes first. An answer that arrives moves nothing.
    const others = conversations.value.filter((one) => one.id !== id)
    conversations.value =
      after.turns.length > before.turns.length
        ? [after, ...others]
        : conversations.value.map((one) => (one === before ? after : one))
    if (id === currentId.value) lastModels.value = after.models.join(',')
  }
  saveAt(when, id)
}

export const updateCurrent = (change: (conversation: Conversation) => Conversation): void =>
  update(current.value.id, change)

export function add(added: readonly Conversation[]): void {
  conversations.value = [...added, ...conversations.value].sort((a, b) => b.changedAt - a.changedAt)
  for (const { id } of added) saveAt('now', id)
}

export async function forget(id: string): Promise<void> {
  conversations.value = conversations.value.filter((one) => one.id !== id)
  if (currentId.value === id) startNew()
  await remove('conversations', [id])
}

export async function load(): Promise<void> {
  const found = (await allConversations()).map(ended).sort((a, b) => b.changedAt - a.changedAt)
  conversations.value = found
  if (!found.some(({ id }) => id === currentId.value)) startNew()
  areLoaded.value = true
  // Files that no conversation needs any more: their question was deleted, or never asked. Those of today may belong to a
  // question that is being written in another window.
  const needed = new Set(found.flatMap((one) => [...filesOf(one)]))
  const old = (await fileIds()).filter((id) => !needed.has(id) && Number.parseInt(id, 10) < Date.now() - 86_400_000)
  await remove('files', old)
}

const unsaved = new Set<string>()
let timer: ReturnType<typeof setTimeout> | undefined

function saveAt(when: 'now' | 'soon', id: string): void {
  unsaved.add(id)
  if (when === 'now') save()
  else timer ??= setTimeout(save, 500)
}

function save(): void {
  clearTimeout(timer)
  timer = undefined
  for (const conversation of conversations.value) if (unsaved.has(conversation.id)) void saveConversation(conversation)
  unsaved.clear()
}
addEventListener('pagehide', save)

/** A conversation as it is after its page was closed: nothing in it arrives any more. */
const ended = (conversation: Conversation): Conversation => ({
  ...conversation,
  turns: conversation.turns.map((turn) => ({
    ...turn,
    columns: turn.columns.map((column) => ({ ...column, answers: column.answers.map(endedAnswer) })),
  })),
})

const endedAnswer = (answer: Answer): Answer =>
  answer.state === 'waiting' || answer.state === 'streaming' ? { ...answer, state: 'stopped' } : answer
