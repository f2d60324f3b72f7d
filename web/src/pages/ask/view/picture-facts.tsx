import { bytes, count, duration } from '../../../ui/figures.ts'
import { Icon } from '../../../ui/icon.tsx'
import { type Picture, type SeenPage, shownAnswer, type Turn } from '../state/conversation.ts'
import { isDocument } from '../state/files.ts'
import { nameOf } from '../state/models.ts'
import { showSeen } from './dialogs.tsx'

/** What others hide: the size that was sent, and what each model made of it. */
export function PictureFacts({ turn, picture, index }: { turn: Turn; picture: Picture; index: number }) {
  const answers = turn.columns.flatMap((column) => shownAnswer(column) ?? [])
  return (
    <div class="facts small dim figure">
      <span>
        {isDocument(picture) && `${picture.pages === '' ? 'all pages' : `pages ${picture.pages}`} · `}
        {picture.width > 0 && `${picture.width} × ${picture.height} · `}
        {bytes(picture.bytes)}
        {picture.shrunkFrom > 0 && `, shrunk from ${bytes(picture.shrunkFrom)}`}
      </span>
      {answers.map(({ id, model, figures }) => {
        const pages = figures?.pictures[index] ?? []
        if (pages.length === 0) return null
        return (
          <span key={id}>
            {answers.length > 1 && <b>{nameOf(model)}: </b>}
            {seenOf(pages)}
          </span>
        )
      })}
      <button type="button" class="link" onClick={() => showSeen(picture, answers[0]?.model)}>
        <Icon name="eye" />
        What the model saw
      </button>
    </div>
  )
}

function seenOf(pages: readonly SeenPage[]): string {
  const tokens = pages.reduce((sum, page) => sum + page.tokens, 0)
  const ms = pages.reduce((sum, page) => sum + page.encode_ms, 0)
  const encoded = pages.filter(({ cached }) => cached === null).length
  const [first] = pages
  const seen =
    pages.length === 1 && first ? `seen as ${first.seen.width} × ${first.seen.height}` : `${pages.length} pages`
  const how = encoded === 0 ? 'cached' : encoded === pages.length ? 'encoded' : `${encoded} encoded`
  return `${seen} · ${count(tokens)} tokens · ${how}${encoded === 0 ? '' : ` in ${duration(ms)}`}`
}
