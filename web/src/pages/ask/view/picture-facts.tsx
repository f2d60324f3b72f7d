import { bytes, clock, count, duration } from '../../../ui/figures.ts'
import { Icon } from '../../../ui/icon.tsx'
import { type Picture, type SeenPage, type SeenRecording, shownAnswer, type Turn } from '../state/conversation.ts'
import { inputOf, isDocument } from '../state/files.ts'
import { nameOf } from '../state/models.ts'
import { showSeen } from './dialogs.tsx'

/** What others hide: the size that was sent, and what each model made of it. */
export function PictureFacts({ turn, picture, index }: { turn: Turn; picture: Picture; index: number }) {
  const answers = turn.columns.flatMap((column) => shownAnswer(column) ?? [])
  return (
    <div class="picture-facts small dim figure">
      <span>
        {isDocument(picture) && `${picture.pages === '' ? 'all pages' : `pages ${picture.pages}`} · `}
        {(picture.seconds ?? 0) > 0 && `${clock(picture.seconds ?? 0)} · `}
        {picture.width > 0 && `${picture.width} × ${picture.height} · `}
        {bytes(picture.bytes)}
        {picture.shrunkFrom > 0 && `, shrunk from ${bytes(picture.shrunkFrom)}`}
      </span>
      {answers.map(({ id, model, figures }) => {
        const pages = figures?.pictures[index] ?? []
        const recording = figures?.recordings?.[index] ?? null
        if (pages.length === 0 && recording === null) return null
        return (
          <span key={id} title={recording === null ? undefined : timesOf(recording)}>
            {answers.length > 1 && <b>{nameOf(model)}: </b>}
            {recording === null ? seenOf(pages) : perceivedOf(recording)}
          </span>
        )
      })}
      {inputOf(picture) === 'image' && (
        <button type="button" class="link" onClick={() => showSeen(picture, answers[0]?.model)}>
          <Icon name="eye" />
          What the model saw
        </button>
      )}
    </div>
  )
}

/** `8 frames seen as 320 × 180 · 12.5 s heard · 640 tokens · encoded in 1.2 s` */
function perceivedOf({ taken, width, height, seconds, tokens, cached, encode_ms }: SeenRecording): string {
  return [
    ...(taken > 0 ? [`${taken} ${taken === 1 ? 'frame' : 'frames'} seen as ${width} × ${height}`] : []),
    ...(seconds > 0 ? [`${seconds.toFixed(1)} s heard`] : []),
    `${count(tokens)} tokens`,
    cached ? 'cached' : `encoded in ${duration(encode_ms)}`,
  ].join(' · ')
}

/** Of the frames, for those who want to know. */
const timesOf = ({ times }: SeenRecording): string | undefined =>
  times.length === 0 ? undefined : `Frames at ${times.map((time) => `${time.toFixed(1)} s`).join(', ')}`

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
