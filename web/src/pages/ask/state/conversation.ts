/**
 * A conversation is a tree that grows: a question follows the answers that were on the screen when it was asked. Other
 * answers to the same question, and other wordings of it, stay beside them.
 */

/** What a question may have beside its text. A document is images. */
export type Input = 'image' | 'video' | 'audio'

/** A picture, a document, a video or audio of a question. Its file is in the store, under the same id. */
export interface Picture {
  readonly id: string
  readonly name: string
  readonly type: string
  readonly bytes: number
  /** Bytes of the file that was picked, if it was too large to be sent as it is; else 0. */
  readonly shrunkFrom: number
  /** px, upright; 0: this browser cannot tell. */
  readonly width: number
  readonly height: number
  /** A selection such as `1-3,7`; empty: all. */
  readonly pages: string
  /** Of a video or audio; 0: this browser cannot tell. */
  readonly seconds?: number | undefined
  /** A data: URL of a frame of a video; empty: there is none. */
  readonly poster?: string | undefined
}

export interface Question {
  readonly text: string
  readonly pictures: readonly Picture[]
}

export interface Call {
  readonly id: string
  readonly name: string
  /** JSON, as the model wrote it. */
  readonly arguments: string
}

/** What the server tells about one page of a picture. */
export interface SeenPage {
  readonly page: number | null
  readonly width: number
  readonly height: number
  readonly seen: { readonly width: number; readonly height: number }
  readonly tokens: number
  /** null: it was encoded for this answer. */
  readonly cached: 'encoder' | 'prefix' | null
  readonly encode_ms: number
  readonly decode_ms: number
}

/** What the server tells about a video, or the sound of one, or audio. */
export interface SeenRecording {
  /** Frames that the model saw. It may see two of them as one. */
  readonly taken: number
  /** Of these, in seconds. */
  readonly times: readonly number[]
  /** Of its frames; 0: none was seen. */
  readonly width: number
  readonly height: number
  /** That were heard. */
  readonly seconds: number
  readonly tokens: number
  /** Whether nothing was encoded for this answer. */
  readonly cached: boolean
  readonly encode_ms: number
}

export interface Figures {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly imageTokens: number
  readonly outputTokens: number
  readonly cost: number
  /** ms, by the server's clock. */
  readonly phases: { readonly [phase in Phase]: number }
  /** Of each picture of the question, its pages; empty where the server does not tell. */
  readonly pictures: readonly (readonly SeenPage[])[]
  /** The same of videos and audio; null: the part is neither. Older answers have none. */
  readonly recordings?: readonly (SeenRecording | null)[] | undefined
}

/** In the order in which they happen. */
export const phases = ['queue', 'media', 'encode', 'prefill', 'generation'] as const
export type Phase = (typeof phases)[number]

/** A box or a point of an answer, in parts of its picture, which is the last one before the answer. */
export interface Mark {
  readonly label: string | null
  readonly x: number
  readonly y: number
  /** Of a box. */
  readonly size?: { readonly width: number; readonly height: number } | undefined
}

export interface Answer {
  readonly id: string
  readonly model: string
  readonly state: 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed'
  readonly thought: string
  readonly text: string
  readonly calls: readonly Call[]
  /** Why it failed, in the server's words. */
  readonly error: string
  /** The HTTP status of it; 0: the connection broke off. Older answers, and those that did not fail, have none. */
  readonly status?: number | undefined
  /** Whether it ended at the limit of tokens. */
  readonly cut: boolean
  /** Whether the model's server keeps the rest back. Older answers do not have it. */
  readonly withheld?: boolean | undefined
  readonly figures: Figures | null
  /** undefined: the model writes none that the server knows, or the answer is older than this field. */
  readonly marks?: readonly Mark[] | undefined
}

/** Whether more of it may come. */
export const isRunning = ({ state }: Answer): boolean => state === 'waiting' || state === 'streaming'

/** The calls whose results the next message brings. Those of an answer that was stopped or cut may not be whole. */
export const callsOf = ({ state, cut, withheld, calls }: Answer): readonly Call[] =>
  state === 'done' && !cut && !withheld ? calls : []

/** Whether the server will not answer this question, however often it is sent. */
export const isRefused = ({ state, text, status = 0 }: Answer): boolean =>
  state === 'failed' && text === '' && [400, 413, 415, 422].includes(status)

/** The answers of one model to a question, of which one is shown. */
export interface Column {
  readonly answers: readonly Answer[]
  readonly shown: number
}

export interface Turn {
  readonly id: string
  /** The answers that were shown above it (`keyOf`); empty: it is the first. */
  readonly after: string
  readonly question: Question
  /** One, or two side by side. */
  readonly columns: readonly Column[]
}

/** How finely pictures are looked at. A document has no choice. */
export const details = ['auto', 'low', 'high'] as const

export interface Settings {
  readonly system: string
  readonly detail: (typeof details)[number]
  /** As typed, by name; without an entry the server decides. */
  readonly parameters: Readonly<Record<string, string>>
  /** JSON, as typed; empty: none. */
  readonly schema: string
  readonly tools: string
}

export interface Conversation {
  readonly id: string
  readonly title: string
  /** ms since 1970 */
  readonly changedAt: number
  /** One, or two that answer side by side. */
  readonly models: readonly string[]
  readonly settings: Settings
  readonly turns: readonly Turn[]
  /** Which of the questions after the same answers is shown, by `Turn.after`; without an entry the newest. */
  readonly picked: Readonly<Record<string, string>>
}

export const noSettings: Settings = { system: '', detail: 'auto', parameters: {}, schema: '', tools: '' }

export const newId = (): string =>
  [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('')

/** The answer of a column that is shown. */
export const shownAnswer = ({ answers, shown }: Column): Answer | undefined => answers[shown]

/** The answer that the model of a column takes for its own: that of its column, if it was asked then. */
export const answerIn = ({ columns }: Turn, column: number): Answer | undefined => {
  const own = columns[column] ?? columns[0]
  return own && shownAnswer(own)
}

/** What the questions after this turn follow. */
export const keyOf = ({ columns }: Turn): string => columns.map((column) => shownAnswer(column)?.id ?? '').join('+')

/** The questions that were asked at the same place, the oldest first. */
export const siblings = ({ turns }: Conversation, { after }: Turn): readonly Turn[] =>
  turns.filter((turn) => turn.after === after)

/** The turns that are shown, from the first on. An imported tree may have a loop. */
export function pathOf({ turns, picked }: Conversation): readonly Turn[] {
  const path: Turn[] = []
  for (let after = ''; ; ) {
    const here = turns.filter((turn) => turn.after === after)
    const turn = here.find(({ id }) => id === picked[after]) ?? here.at(-1)
    if (turn === undefined || path.includes(turn)) return path
    path.push(turn)
    after = keyOf(turn)
  }
}

/** A turn after those that are shown, or in place of one of them. */
export function withTurn(conversation: Conversation, turn: Turn): Conversation {
  const { turns, picked, title } = conversation
  return {
    ...conversation,
    title: title === '' ? titleOf(turn.question) : title,
    turns: [...turns, turn],
    picked: { ...picked, [turn.after]: turn.id },
  }
}

export function changeColumn(
  conversation: Conversation,
  turnId: string,
  index: number,
  change: (column: Column) => Column,
): Conversation {
  const turns = conversation.turns.map((turn) =>
    turn.id === turnId
      ? { ...turn, columns: turn.columns.map((column, at) => (at === index ? change(column) : column)) }
      : turn,
  )
  return { ...conversation, turns }
}

export function changeAnswer(
  conversation: Conversation,
  turnId: string,
  answerId: string,
  change: (answer: Answer) => Answer,
): Conversation {
  const inColumn = (column: Column): Column => ({
    ...column,
    answers: column.answers.map((answer) => (answer.id === answerId ? change(answer) : answer)),
  })
  const turns = conversation.turns.map((turn) =>
    turn.id === turnId ? { ...turn, columns: turn.columns.map(inColumn) } : turn,
  )
  return { ...conversation, turns }
}

/** Another picture wherever the conversation has the one of this id. */
export function withPicture(conversation: Conversation, id: string, picture: Picture): Conversation {
  const turns = conversation.turns.map((turn) => {
    const pictures = turn.question.pictures.map((one) => (one.id === id ? picture : one))
    return { ...turn, question: { ...turn.question, pictures } }
  })
  return { ...conversation, turns }
}

/** Every answer, also those that are not shown. */
export const answersOf = ({ turns }: Pick<Conversation, 'turns'>): readonly Answer[] =>
  turns.flatMap(({ columns }) => columns.flatMap(({ answers }) => answers))

/** The ids of all files that a conversation needs. */
export const filesOf = ({ turns }: Conversation): ReadonlySet<string> =>
  new Set(turns.flatMap(({ question }) => question.pictures.map(({ id }) => id)))

const titleOf = ({ text, pictures }: Question): string => {
  const line = text.trim().split('\n', 1)[0] ?? ''
  return (line === '' ? (pictures[0]?.name ?? 'Without a question') : line).slice(0, 80)
}
