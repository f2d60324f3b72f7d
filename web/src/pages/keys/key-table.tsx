import { useSignal } from '@preact/signals'
import { type Key, type KeyWithSecret, keyActions, readKeys, scopes, spent, stateOf } from '../../server/keys.ts'
import { announce } from '../../ui/announce.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { Failure } from '../../ui/failure.tsx'
import { amount, day } from '../../ui/figures.ts'

interface KeyTableProps {
  keys: readonly Key[]
  onSecret: (made: KeyWithSecret) => void
}

/** All keys, with what they may do and what they have cost. */
export function KeyTable({ keys, onSecret }: KeyTableProps) {
  const asked = useSignal<{ of: Key; what: 'revoke' | 'rotate' } | undefined>(undefined)
  return (
    <div class="scroll card">
      <table class="table stacks">
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">Account</th>
            <th scope="col">May</th>
            <th scope="col" class="number">
              This month
            </th>
            <th scope="col">Made</th>
            <th scope="col">State</th>
            <th scope="col">
              <span class="hidden-text">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <Row
              key={key.id}
              of={key}
              onAsk={(what) => {
                asked.value = { of: key, what }
              }}
            />
          ))}
        </tbody>
      </table>
      {asked.value === undefined ? null : (
        <Confirmation
          {...asked.value}
          onSecret={onSecret}
          onClose={() => {
            asked.value = undefined
          }}
        />
      )}
    </div>
  )
}

function Row({ of: key, onAsk }: { of: Key; onAsk: (what: 'revoke' | 'rotate') => void }) {
  const state = stateOf(key)
  const cost = spent.value.get(key.id) ?? 0
  const name = key.note === '' ? key.prefix : key.note
  return (
    <tr class={state.tone === 'bad' ? 'dim' : ''}>
      <td class="whole">
        {key.note === '' ? null : <div>{key.note}</div>}
        <code>{key.prefix}…</code>
      </td>
      <td class="wrap" data-name="Account">
        {key.account}
      </td>
      <td class="may" data-name="May">
        {key.scopes.map((scope) => (
          <div key={scope}>{scopes[scope]}</div>
        ))}
        <div class="small dim">{key.models === null ? 'all models' : key.models.join(', ')}</div>
      </td>
      <td class="number" data-name="This month">
        {amount(cost)}
        {key.budget === null ? null : <div class="small dim">of {amount(key.budget)}</div>}
      </td>
      <td class="figure" data-name="Made">
        {day(key.created)}
      </td>
      <td data-name="State">
        <span class={`chip ${state.tone}`}>{state.text}</span>
        {key.expires === null ? null : <div class="small dim figure">until {day(key.expires)}</div>}
      </td>
      <td class="number whole actions">
        {state.tone === 'good' ? (
          <>
            <button type="button" class="button quiet" aria-label={`Rotate ${name}`} onClick={() => onAsk('rotate')}>
              Rotate
            </button>
            <button type="button" class="button quiet" aria-label={`Revoke ${name}`} onClick={() => onAsk('revoke')}>
              Revoke
            </button>
          </>
        ) : null}
      </td>
    </tr>
  )
}

interface ConfirmationProps {
  of: Key
  what: 'revoke' | 'rotate'
  onSecret: (made: KeyWithSecret) => void
  onClose: () => void
}

/** How long an old secret may go on, in seconds. */
const graces = [
  [0, 'at once'],
  [3600, 'in an hour'],
  [86_400, 'in a day'],
  [604_800, 'in a week'],
] as const

function Confirmation({ of, what, onSecret, onClose }: ConfirmationProps) {
  const failure = useSignal('')
  const grace = useSignal(0)
  const act = async (): Promise<void> => {
    try {
      if (what === 'revoke') {
        await keyActions.revoke(of.id)
        announce('The key is revoked.')
      } else onSecret(await keyActions.rotate(of.id, grace.value))
      onClose()
      await readKeys()
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  return (
    <Dialog title={what === 'revoke' ? 'Revoke this key?' : 'Give this key a new secret?'} onClose={onClose}>
      <p>
        <code>{of.prefix}…</code> of {of.account}
        {what === 'revoke' ? ' stops working at once, and cannot be brought back.' : ' gets a new secret.'}
      </p>
      {what === 'rotate' ? (
        <label class="field">
          <span>The old secret stops working</span>
          <select
            class="input"
            onChange={(event) => {
              grace.value = Number(event.currentTarget.value)
            }}
          >
            {graces.map(([seconds, text]) => (
              <option key={seconds} value={seconds}>
                {text}
              </option>
            ))}
          </select>
        </label>
      ) : null}
      <Failure text={failure.value} />
      <p class="dialog-actions">
        <button type="button" class="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class={what === 'revoke' ? 'button danger' : 'button primary'} onClick={() => void act()}>
          {what === 'revoke' ? 'Revoke' : 'Make a new secret'}
        </button>
      </p>
    </Dialog>
  )
}
