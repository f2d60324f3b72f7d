import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { ServerError } from '../../../server/client.ts'
import { Dialog } from '../../../ui/dialog.tsx'
import { bytes, count } from '../../../ui/figures.ts'
import { details, type Picture } from '../state/conversation.ts'
import { current } from '../state/conversations.ts'
import { isDocument } from '../state/files.ts'
import { nameOf } from '../state/models.ts'
import { lookingModel, type Preview, previewOf, type SeenPicture, type View } from '../state/preview.ts'
import { Choices } from './choices.tsx'

interface SeenDialogProps {
  picture: Picture
  /** By default one of the conversation. */
  model: string | undefined
  onClose: () => void
}

/** The pixels that a model gets, with its tiles. */
export function SeenDialog({ picture, model: given, onClose }: SeenDialogProps) {
  const model = useSignal(given ?? lookingModel() ?? '')
  const preview = useSignal<Preview | null>(null)
  const problem = useSignal('')
  const detail = useSignal(current.value.settings.detail)
  const hasGrid = useSignal(true)
  useEffect(() => {
    preview.value = null
    problem.value = ''
    let gone = false
    previewOf(model.value, picture, detail.value).then(
      (found) => {
        if (!gone) preview.value = found
      },
      (error: ServerError) => {
        if (!gone) problem.value = error.message
      },
    )
    return () => {
      gone = true
    }
  }, [model.value, detail.value])
  const choices = [...new Set([...(given ? [given] : []), ...current.value.models])]
  return (
    <Dialog title="What the model saw" wide onClose={onClose}>
      <div class="code-head">
        {choices.length > 1 && (
          <select
            class="input"
            aria-label="Model"
            value={model.value}
            onChange={(event) => {
              model.value = event.currentTarget.value
            }}
          >
            {choices.map((id) => (
              <option key={id} value={id}>
                {nameOf(id)}
              </option>
            ))}
          </select>
        )}
        {!isDocument(picture) && (
          <Choices
            legend="Detail"
            name="seen-detail"
            all={details}
            chosen={detail.value}
            onChoose={(one) => {
              detail.value = one
            }}
          />
        )}
        <label class="check small">
          <input
            type="checkbox"
            checked={hasGrid.value}
            onChange={(event) => {
              hasGrid.value = event.currentTarget.checked
            }}
          />
          Tiles
        </label>
      </div>
      {problem.value !== '' && <p class="note bad">{problem.value}</p>}
      {preview.value === null && problem.value === '' && <div class="seen-waits" aria-busy="true" />}
      {preview.value?.pictures.map((seen) => (
        <Seen key={seen.page} seen={seen} hasGrid={hasGrid.value} name={picture.name} />
      ))}
    </Dialog>
  )
}

function Seen({ seen, hasGrid, name }: { seen: SeenPicture; hasGrid: boolean; name: string }) {
  const { decoded, width, height } = seen
  const marks = seen.tokens - sumOf(seen.views.map(({ tiles }) => sumOf(tiles.map(({ tokens }) => tokens))))
  const isShrunk = decoded.width !== width || decoded.height !== height
  return (
    <section class="seen" aria-label={`${name}, page ${seen.page}`}>
      <p class="small dim figure">
        {seen.pages > 1 && `Page ${seen.page} of ${seen.pages} · `}
        {`${seen.format} of ${bytes(seen.bytes)} · sent as ${width} × ${height}`}
        {isShrunk && ` · shrunk to ${decoded.width} × ${decoded.height}`}
        {` · seen as ${seen.seen.width} × ${seen.seen.height} · ${count(seen.tokens)} tokens`}
        {marks > 0 && `, ${count(marks)} of them ${marks === 1 ? 'a mark' : 'marks'} around it`}
      </p>
      <div class="views">
        {seen.views.map((view) => (
          <ViewFigure key={view.kind} view={view} hasGrid={hasGrid} />
        ))}
      </div>
    </section>
  )
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0)

const kinds: Record<View['kind'], string> = { whole: 'The whole picture', overview: 'Overview', tiles: 'Tiles' }

function ViewFigure({ view, hasGrid }: { view: View; hasGrid: boolean }) {
  const { kind, width, height, tiles, image } = view
  const tokens = sumOf(tiles.map((tile) => tile.tokens))
  return (
    <figure>
      <div class="canvas">
        <img src={image} alt={kinds[kind]} width={width} height={height} />
        {hasGrid &&
          tiles.map((tile, index) => (
            <span
              key={index}
              class="tile small figure"
              style={{
                left: `${(100 * tile.x) / width}%`,
                top: `${(100 * tile.y) / height}%`,
                width: `${(100 * tile.width) / width}%`,
                height: `${(100 * tile.height) / height}%`,
              }}
            >
              {tiles.length > 1 && <span class="label">{tile.tokens}</span>}
            </span>
          ))}
      </div>
      <figcaption class="small dim figure">
        {kinds[kind]}: {width} × {height}
        {tiles.length > 1 && `, ${tiles.length} tiles`}, {count(tokens)} tokens
      </figcaption>
    </figure>
  )
}
