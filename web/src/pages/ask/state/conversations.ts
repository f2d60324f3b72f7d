import { computed, signal } from '@preact/signals'
import { stored } from '../../../stored.ts'
import { answersOf, type Conversation, filesOf, isRunning, newId, noSettings, pathOf } from './conversation.ts'
import { removeFiles } from './files.ts'
import { keptQuestion } from './kept-question.ts'
import { arrivesHere, stop } from './running.ts'
import { allConversations, conversationOf, fileIds, remove, saveConversation } from './store.ts'

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

/** @param models by default those of the last one */
export function startNew(models?: readonly string[]): void {
  blank.value = { ...fresh(), ...(models === undefined ? {} : { models }) }
  currentId.value = blank.value.id
  lastOpen.value = ''
}

/** Changes a conversation wherever it is shown, and saves it: soon if more changes come, as while an answer arrives. */
export function update(
  id: string,
  change: (conversation: Conversation) => Conversation,
  when: 'now' | 'soon' = 'now',
): void {
  // One that has begun may be deleted while an answer arrives: it does not come back.
  if (id === blank.value.id && blank.value.turns.length === 0) {
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
  // An answer that was still arriving when it was exported arrives no more.
  conversations.value = [...added.map(ended), ...conversations.value].sort((a, b) => b.changedAt - a.changedAt)
  for (const { id } of added) saveAt('now', id)
}

export async function forget(id: string): Promise<void> {
  const gone = conversations.value.find((one) => one.id === id)
  takeAway(id)
  await remove('conversations', [id])
  otherWindows.postMessage(id)
  if (gone !== undefined) await removeUnneeded([...filesOf(gone)])
}

/** Removes those of the files for good that no conversation needs. */
export const removeUnneeded = (files: readonly string[]): Promise<void> =>
  removeFiles(files.filter((file) => !neededFiles().has(file)))

function takeAway(id: string): void {
  const gone = conversations.value.find((one) => one.id === id)
  conversations.value = conversations.value.filter((one) => one.id !== id)
  if (currentId.value === id) startNew()
  if (gone !== undefined) answersOf(gone).forEach(stop)
}

const neededFiles = (): ReadonlySet<string> => new Set(conversations.value.flatMap((one) => [...filesOf(one)]))

let loading: Promise<void> | undefined

/** Reads what this browser keeps, once. */
export function load(): Promise<void> {
  loading ??= read()
  return loading
}

async function read(): Promise<void> {
  const found = (await allConversations()).map(ended).sort((a, b) => b.changedAt - a.changedAt)
  conversations.value = found
  if (!found.some(({ id }) => id === currentId.value)) startNew()
  areLoaded.value = true
  // Files that no conversation needs any more: their question was never asked. Those of today may belong to a question
  // that is being written in another window.
  const needed = new Set([...neededFiles(), ...keptQuestion().pictures.map(({ id }) => id)])
  const old = (await fileIds()).filter((id) => !needed.has(id) && Number.parseInt(id, 10) < Date.now() - 86_400_000)
  await removeFiles(old)
}

/** Tells the other windows of this browser which conversation has changed. */
const otherWindows = new BroadcastChannel('oriel.conversations')
otherWindows.onmessage = ({ data }) => void takeOver(String(data))

async function takeOver(id: string): Promise<void> {
  await load()
  const theirs = await conversationOf(id)
  if (theirs === undefined) return takeAway(id)
  const mine = conversations.value.find((one) => one.id === id)
  if (mine === undefined) conversations.value = [ended(theirs), ...conversations.value]
  else conversations.value = conversations.value.map((one) => (one === mine ? joined(mine, ended(theirs)) : one))
}

/** What another window has of a conversation, with what is here alone. What is shown stays where it is. */
function joined(mine: Conversation, theirs: Conversation): Conversation {
  const arrives = mine.turns.filter((turn) => answersOf({ turns: [turn] }).some(arrivesHere))
  const here = new Map(arrives.map((turn) => [turn.id, turn]))
  const known = new Set(theirs.turns.map(({ id }) => id))
  return {
    ...theirs,
    turns: [...theirs.turns.map((turn) => here.get(turn.id) ?? turn), ...mine.turns.filter(({ id }) => !known.has(id))],
    picked: { ...theirs.picked, ...mine.picked },
  }
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
  for (const conversation of conversations.value) if (unsaved.has(conversation.id)) void keep(conversation)
  unsaved.clear()
}
addEventListener('pagehide', save)

async function keep(conversation: Conversation): Promise<void> {
  const isKept = await saveConversation(conversation)
  // Others see an answer when all of it is here: to them one that arrives looks like one that was stopped.
  if (isKept && !answersOf(conversation).some(isRunning)) otherWindows.postMessage(conversation.id)
}

/** A conversation as it is where it was not asked: nothing in it arrives. */
const ended = (conversation: Conversation): Conversation => ({
  ...conversation,
  turns: conversation.turns.map((turn) => ({
    ...turn,
    columns: turn.columns.map((column) => ({
      ...column,
      answers: column.answers.map((answer) => (isRunning(answer) ? { ...answer, state: 'stopped' } : answer)),
    })),
  })),
})
