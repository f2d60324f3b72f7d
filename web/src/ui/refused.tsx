import { useSignal } from '@preact/signals'
import { useId } from 'preact/hooks'
import { apiKey, keyProblem, keyWanted, type ServerError } from '../server/client.ts'
import { announce } from './announce.tsx'

/** Why the server does not show a page, and what to do about it. */
export function Refused({ error, again }: { error: ServerError; again: () => void }) {
  const hasNone = error.status === 401 && apiKey.value === ''
  return (
    <div class="note bad" role="alert">
      <p>{hasNone ? 'This server needs a key.' : error.message}</p>
      {error.wantsKey ? (
        <KeyField again={again} />
      ) : (
        <p>
          <button type="button" class="button" onClick={again}>
            Try again
          </button>
        </p>
      )}
    </div>
  )
}

/** Takes an API key, which stays in this browser. */
export function KeyField({ again }: { again: () => void }) {
  const id = useId()
  const text = useSignal('')
  const problem = useSignal('')
  const save = (event: Event): void => {
    event.preventDefault()
    const key = text.value.trim()
    // Nothing is no key: the one that there is stays.
    if (key === '') return
    problem.value = keyProblem(key)
    if (problem.value !== '') return
    apiKey.value = key
    text.value = ''
    keyWanted.value = false
    announce('This browser keeps the key.')
    again()
  }
  return (
    <form class="key-field" onSubmit={save}>
      <label for={id}>A key of this server</label>
      <input
        id={id}
        class="input"
        type="password"
        required
        autocomplete="off"
        {...(problem.value === '' ? {} : { 'aria-invalid': true, 'aria-describedby': `${id}-problem` })}
        placeholder={apiKey.value === '' ? '' : `${apiKey.value.slice(0, 10)}… is used`}
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value
        }}
      />
      <button type="submit" class="button primary">
        Use this key
      </button>
      {problem.value !== '' && (
        <span id={`${id}-problem`} class="wrong small" role="alert">
          {problem.value}
        </span>
      )}
    </form>
  )
}
