import { useSignal } from '@preact/signals'
import { useEffect, useId } from 'preact/hooks'
import { get } from '../../server/client.ts'
import { accounts, type KeyWithSecret, keyActions, type NewKey, type Scope, scopes } from '../../server/keys.ts'
import { FormDialog } from '../../ui/form-dialog.tsx'

interface NewKeyProps {
  onMade: (made: KeyWithSecret) => void
  onClose: () => void
}

/** Asks what a new key is for, and makes it. */
export function NewKeyDialog({ onMade, onClose }: NewKeyProps) {
  const id = useId()
  const models = useSignal<readonly string[]>([])
  useEffect(() => {
    get<{ data: readonly { id: string; parent?: string | null }[] }>('/v1/models').then(
      ({ data }) => {
        // A key is for a model with all of its adapters.
        models.value = data.filter(({ parent }) => typeof parent !== 'string').map(({ id }) => id)
      },
      () => {},
    )
  }, [])
  const make = async (form: FormData): Promise<void> => onMade(await keyActions.create(keyOf(form)))
  return (
    <FormDialog title="New key" action="Make the key" onSubmit={make} onClose={onClose}>
      <div class="field">
        <label for={`${id}-account`}>Account</label>
        <input
          id={`${id}-account`}
          class="input"
          name="account"
          required
          pattern="[\w.@\-]{1,128}"
          title="Letters, digits and . @ _ - alone"
          list={`${id}-accounts`}
          autocomplete="off"
          aria-describedby={`${id}-account-hint`}
        />
        <datalist id={`${id}-accounts`}>
          {accounts.value.map((account) => (
            <option key={account.id} value={account.id} />
          ))}
        </datalist>
        <span id={`${id}-account-hint`} class="hint">
          Who pays and is limited: a person, a team, a program. It is made if it is new.
        </span>
      </div>
      <fieldset class="field">
        <legend>What it may do</legend>
        {(Object.keys(scopes) as Scope[]).map((scope) => (
          <label key={scope} class="check">
            <input
              type="checkbox"
              name="scopes"
              value={scope}
              defaultChecked={scope === 'inference' || scope === 'usage'}
            />{' '}
            {scopes[scope]}
          </label>
        ))}
      </fieldset>
      <fieldset class="field">
        <legend>
          Models <span class="hint">none chosen: all, also later ones</span>
        </legend>
        <div class="check-list">
          {models.value.map((model) => (
            <label key={model} class="check">
              <input type="checkbox" name="models" value={model} /> {model}
            </label>
          ))}
        </div>
      </fieldset>
      <div class="two">
        <div class="field">
          <label for={`${id}-budget`}>Budget for a month</label>
          <input id={`${id}-budget`} class="input" name="budget" type="number" min="0" step="any" placeholder="none" />
        </div>
        <div class="field">
          <label for={`${id}-expires`}>Works until</label>
          <input id={`${id}-expires`} class="input" name="expires" type="date" min={today()} />
        </div>
      </div>
      <div class="field">
        <label for={`${id}-note`}>Note</label>
        <input id={`${id}-note`} class="input" name="note" maxLength={500} placeholder="What it is for" />
      </div>
    </FormDialog>
  )
}

/** Where the person is: `2026-11-28`. */
const today = (): string => new Intl.DateTimeFormat('sv', { dateStyle: 'short' }).format()

function keyOf(form: FormData): NewKey {
  const text = (name: string): string => String(form.get(name) ?? '').trim()
  const models = form.getAll('models').map(String)
  return {
    account: text('account'),
    scopes: form.getAll('scopes').map(String) as Scope[],
    ...(models.length === 0 ? {} : { models }),
    ...(text('budget') === '' ? {} : { budget: Number(text('budget')) }),
    ...(text('note') === '' ? {} : { note: text('note') }),
    // To the end of that day where the person is.
    ...(text('expires') === '' ? {} : { expires: new Date(`${text('expires')}T23:59:59`).toISOString() }),
  }
}
