import { answerIn, isRefused, type Picture, pathOf, withPicture } from './conversation.ts'
import { conversations, removeUnneeded, update } from './conversations.ts'
import { changePicture, edits } from './draft.ts'
import { inputOf, smallerCopy } from './files.ts'

/** A request may have 10 MB of base64 for its pictures, which is 7.5 MB of bytes, unless the server is told otherwise. */
const mostBytes = 7e6

interface Asked {
  readonly conversation: string
  readonly turn: string
  readonly column: number
}

let fitting: Promise<void> = Promise.resolve()

/**
 * Makes the pictures of a question and of the turns before it fit into one request: all of them go with it. The largest one
 * is made smaller until they do, in the conversation itself, which shows and sends the same. What cannot be made smaller
 * stays, and the server says what is too large.
 */
export function fitPictures(asked: Asked): Promise<void> {
  const next = (): Promise<void> => makeFit(asked)
  // One question at a time: two models that are asked at once are sent the same pictures.
  fitting = fitting.then(next, next)
  return fitting
}

async function makeFit(asked: Asked): Promise<void> {
  const asTheyAre = new Set<string>()
  for (;;) {
    const pictures = picturesOf(asked)
    const bytes = pictures.reduce((sum, picture) => sum + picture.bytes, 0)
    const [largest] = pictures.filter(({ id }) => !asTheyAre.has(id)).sort((a, b) => b.bytes - a.bytes)
    if (bytes <= mostBytes || largest === undefined) return
    const smaller = await smallerCopy(largest).catch(() => undefined)
    if (smaller === undefined) {
      asTheyAre.add(largest.id)
      continue
    }
    update(asked.conversation, (before) => withPicture(before, largest.id, smaller))
    for (const draft of edits.value.values()) changePicture(draft, largest.id, smaller)
    await removeUnneeded([largest.id])
  }
}

/** The pictures and documents that go with a question. */
function picturesOf({ conversation: id, turn: turnId, column }: Asked): readonly Picture[] {
  const conversation = conversations.value.find((one) => one.id === id)
  const turns = conversation === undefined ? [] : pathOf(conversation)
  const at = turns.findIndex((turn) => turn.id === turnId)
  const sent = turns.filter((turn, index) => {
    const answer = answerIn(turn, column)
    return index === at || (index < at && !(answer && isRefused(answer)))
  })
  return sent.flatMap(({ question }) => question.pictures).filter((picture) => inputOf(picture) === 'image')
}
