import { useSignal } from '@preact/signals'
import type { Answer, Picture, Turn } from '../state/conversation.ts'
import { path } from '../state/conversations.ts'
import { guessScale, type Mark, placeOf, type Scale, scales } from '../state/marks.ts'
import { Thumbnail } from './thumbnail.tsx'

const names: Record<Scale, string> = {
  thousand: 'thousandths of the picture',
  seen: 'pixels of what the model saw',
  sent: 'pixels of the picture',
  percent: 'percent of the picture',
  unit: 'parts of the picture',
}

/** The picture of a question with the boxes and points of its answer on it. */
export function Marked({ answer, turn, marks }: { answer: Answer; turn: Turn; marks: readonly Mark[] }) {
  const chosenScale = useSignal<Scale | null>(null)
  const chosen = useSignal(0)
  const pictures = picturesOf(turn)
  const picture = pictures[chosen.value] ?? pictures[0]
  if (picture === undefined) return null
  const scale = chosenScale.value ?? guessScale(marks, answer.model)
  const sent = { width: picture.width || 1000, height: picture.height || 1000 }
  const seen = answer.figures?.pictures[turn.question.pictures.indexOf(picture)]?.[0]?.seen ?? sent
  return (
    <figure class="marked">
      <div class="canvas">
        <Thumbnail picture={picture} alt={`${picture.name} with ${marks.length} marks`} />
        {marks.map((mark, index) => {
          const { x, y, width, height } = placeOf(mark, scale, { seen, sent })
          const isPoint = width === undefined || height === undefined
          return (
            <span
              key={index}
              class={`mark ${isPoint ? 'point' : 'box'}${y < 0.08 ? ' high' : ''}`}
              style={{
                left: `${100 * x}%`,
                top: `${100 * y}%`,
                ...(isPoint ? {} : { width: `${100 * width}%`, height: `${100 * height}%` }),
              }}
            >
              <span class="label">{mark.label || index + 1}</span>
            </span>
          )
        })}
      </div>
      <figcaption class="small dim">
        {pictures.length > 1 && (
          <select
            aria-label="Picture"
            value={chosen.value}
            onChange={(event) => {
              chosen.value = Number(event.currentTarget.value)
            }}
          >
            {pictures.map(({ id, name }, index) => (
              <option key={id} value={index}>
                {index + 1}. {name}
              </option>
            ))}
          </select>
        )}
        <label>
          Numbers are{' '}
          <select
            value={scale}
            onChange={(event) => {
              chosenScale.value = scales.find((one) => one === event.currentTarget.value) ?? null
            }}
          >
            {scales.map((one) => (
              <option key={one} value={one}>
                {names[one]}
              </option>
            ))}
          </select>
        </label>
      </figcaption>
    </figure>
  )
}

/** Those of the question, or else of the last one before it that has some. */
function picturesOf(turn: Turn): readonly Picture[] {
  const before = path.value.slice(0, path.value.indexOf(turn) + 1)
  return before.findLast(({ question }) => question.pictures.length > 0)?.question.pictures ?? []
}
