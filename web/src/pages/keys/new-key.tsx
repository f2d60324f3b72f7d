import { useSignal } from '@preact/signals'
import { useEffect, useId } from 'preact/hooks'
import { get } from '../../server/client.ts'
import { accounts, type KeyWithSecret, keyActions, type NewKey, type Scope, scopes } from '../../server/keys.ts'
import { Dialog } from '../../ui/dialog.tsx'
import { Failure } from '../../ui/failure.tsx'

interface NewKeyProps {
  onMade: (made: KeyWithSecret) => void
  onClose: () => void
}

/** Asks what a new key is for, and makes it. */
export function NewKeyDialog({ onMade, onClose }: NewKeyProps) {
  const id = useId()
  const failure = useSignal('')
  const models = useSignal<readonly string[]>([])
  useEffect(() => {
    get<{ data: readonly { id: string }[] }>('/v1/models').then(
      ({ data }) => {
        models.value = data.map((model) => model.id)
      },
      () => {},
    )
  }, [])
  const make = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    failure.value = ''
    try {
      onMade(await keyActions.create(keyOf(new FormData(event.currentTarget as HTMLFormElement))))
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  return (
    <Dialog title="New key" onClose={onClose}>
      <form class="form" onSubmit={(event) => void make(event)}>
        <div class="field">
          <label for={`${id}-account`}>Account</label>
          <input
            id={`${id}-account`}
            class="input"
            name="account"
            required
            pattern="[\w.@\-]{1,128}"
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
            <input
              id={`${id}-budget`}
              class="input"
              name="budget"
              type="number"
              min="0"
              step="any"
              placeholder="none"
            />
          </div>
          <div class="field">
            <label for={`${id}-expires`}>Works until</label>
            <input id={`${id}-expires`} class="input" name="expires" type="date" />
          </div>
        </div>
        <div class="field">
          <label for={`${id}-note`}>Note</label>
          <input id={`${id}-note`} class="input" name="note" maxLength={500} placeholder="What it is for" />
        </div>
        <Failure text={failure.value} />
        <p class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary">
            Make the key
          </button>
        </p>
      </form>
    </Dialog>
  )
}

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
