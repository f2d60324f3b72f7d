import { CopyButton } from '../../../ui/copy.tsx'
import { Icon } from '../../../ui/icon.tsx'
import {
  type Answer as AnswerOf,
  type Column,
  changeColumn,
  isRunning,
  shownAnswer,
  type Turn,
} from '../state/conversation.ts'
import { path, updateCurrent } from '../state/conversations.ts'
import { tidyJson } from '../state/json.ts'
import { modelOf, nameOf } from '../state/models.ts'
import { retry } from '../state/run.ts'
import { stop } from '../state/running.ts'
import { showCode } from './dialogs.tsx'
import { Markdown } from './markdown.tsx'
import { Marked } from './marked.tsx'
import { Switcher } from './switcher.tsx'
import { Timing } from './timing.tsx'

interface AnswerProps {
  turn: Turn
  column: Column
  /** Of the column. */
  index: number
  isLast: boolean
}

export function Answer({ turn, column, index, isLast }: AnswerProps) {
  const answer = shownAnswer(column)
  if (answer === undefined) return null
  const pick = (shown: number): void =>
    updateCurrent((before) => changeColumn(before, turn.id, index, (one) => ({ ...one, shown })))
  const arrives = isRunning(answer)
  return (
    <section class="answer" aria-label={`Answer of ${nameOf(answer.model)}`} aria-busy={arrives}>
      <h2 class="small dim">{nameOf(answer.model)}</h2>
      {answer.thought !== '' && (
        <details class="thought" open={arrives && answer.text === ''}>
          <summary>{arrives && answer.text === '' ? 'Thinks…' : 'What it thought'}</summary>
          <Markdown text={answer.thought} />
        </details>
      )}
      {answer.state === 'waiting' && answer.thought === '' && <Waiting model={answer.model} />}
      {answer.text !== '' && <Text answer={answer} turn={turn} />}
      {answer.calls.map((call) => (
        <div key={call.id} class="call">
          <span class="small dim">Calls</span> <code>{call.name}</code>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also with the keyboard */}
          <pre tabIndex={0}>{tidyJson(call.arguments)}</pre>
        </div>
      ))}
      {answer.state === 'failed' && (
        <p class="note bad" role="alert">
          {answer.error}
        </p>
      )}
      {answer.state === 'stopped' && <p class="small dim">Stopped.</p>}
      {answer.cut && <p class="small dim">The answer ended at the limit of tokens.</p>}
      {answer.withheld && <p class="small dim">The model's server ended the answer because of what is in it.</p>}
      {answer.figures !== null && <Timing figures={answer.figures} />}
      <div class="actions">
        <Switcher what="answers" at={column.shown} count={column.answers.length} onPick={pick} />
        {arrives && !isLast && (
          <button type="button" class="button quiet" onClick={() => stop(answer)}>
            <Icon name="stop" />
            Stop
          </button>
        )}
        {!arrives && (
          <>
            {answer.text !== '' && <CopyButton text={answer.text} what="the answer" />}
            <button type="button" class="button quiet" onClick={() => retry(turn, index)}>
              <Icon name="again" />
              {answer.state === 'failed' ? 'Try again' : 'Retry'}
            </button>
            <button
              type="button"
              class="button quiet"
              onClick={() => {
                const before = path.value.slice(0, path.value.indexOf(turn))
                showCode({ question: turn.question, before, column: index, model: answer.model })
              }}
            >
              <Icon name="code" />
              Code
            </button>
          </>
        )}
      </div>
    </section>
  )
}

function Text({ answer, turn }: { answer: AnswerOf; turn: Turn }) {
  const { marks = [] } = answer
  return (
    <>
      {marks.length > 0 && <Marked turn={turn} marks={marks} />}
      <Markdown text={isJson.test(answer.text) ? fenced(answer.text) : answer.text} />
    </>
  )
}

function Waiting({ model }: { model: string }) {
  const { state, progress } = modelOf(model) ?? {}
  return (
    <p class="waiting dim">
      {state === 'loading' ? (
        <>
          The model is being loaded
          {progress === undefined ? '…' : <span class="figure"> ({Math.round(progress * 100)} %)</span>}
        </>
      ) : (
        'Looks…'
      )}
    </p>
  )
}

/** An answer that is JSON, as with a schema, from its first characters on. */
const isJson = /^\s*(\{\s*"|\[\s*[{["\d])/

const fenced = (json: string): string => `\`\`\`json\n${tidyJson(json)}\n\`\`\``
