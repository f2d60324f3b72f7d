import type { Mark, Picture, Turn } from '../state/conversation.ts'
import { path } from '../state/conversations.ts'
import { Thumbnail } from './thumbnail.tsx'

/** The picture of a question with the boxes and points of its answer on it. */
export function Marked({ turn, marks }: { turn: Turn; marks: readonly Mark[] }) {
  const picture = lastPicture(turn)
  if (picture === undefined) return null
  return (
    <figure class="marked">
      <div class="canvas">
        <Thumbnail picture={picture} alt={`${picture.name} with ${marks.length} marks`} />
        {marks.map(({ label, x, y, size }, index) => (
          <span
            key={index}
            class={`mark ${size === undefined ? 'point' : 'box'}${y < 0.08 ? ' high' : ''}`}
            style={{
              left: `${100 * x}%`,
              top: `${100 * y}%`,
              ...(size && { width: `${100 * size.width}%`, height: `${100 * size.height}%` }),
            }}
          >
            <span class="label">{label ?? index + 1}</span>
          </span>
        ))}
      </div>
    </figure>
  )
}

/** The one that the server means: the last before the answer. */
function lastPicture(turn: Turn): Picture | undefined {
  const before = path.value.slice(0, path.value.indexOf(turn) + 1)
  return before.findLast(({ question }) => question.pictures.length > 0)?.question.pictures.at(-1)
}
