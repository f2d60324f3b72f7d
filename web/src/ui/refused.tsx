import { useSignal } from '@preact/signals'
import { useId } from 'preact/hooks'
import { apiKey, keyWanted, type ServerError } from '../server/client.ts'
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
  const save = (event: Event): void => {
    event.preventDefault()
    apiKey.value = text.value.trim()
    text.value = ''
    keyWanted.value = false
    announce(apiKey.value === '' ? 'This browser has no key now.' : 'This browser keeps the key.')
    again()
  }
  return (
    <form class="key-field" onSubmit={save}>
      <label for={id}>A key of this server</label>
      <input
        id={id}
        class="input"
        type="password"
        autocomplete="off"
        placeholder={apiKey.value === '' ? '' : `${apiKey.value.slice(0, 10)}… is used`}
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value
        }}
      />
      <button type="submit" class="button primary">
        Use this key
      </button>
    </form>
  )
}
