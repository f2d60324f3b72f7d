import { useSignal } from '@preact/signals'
import { type Account, accounts, keyActions, readKeys } from '../../server/keys.ts'
import { announce } from '../../ui/announce.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { Failure } from '../../ui/failure.tsx'
import { amount } from '../../ui/figures.ts'

/** Accounts, whose tier and budget can be changed. */
export function Accounts() {
  const changing = useSignal<Account | undefined>(undefined)
  const erasing = useSignal<Account | undefined>(undefined)
  return (
    <section aria-labelledby="accounts">
      <h2 id="accounts">Accounts</h2>
      <div class="scroll card">
        <table class="table stacks">
          <thead>
            <tr>
              <th scope="col">Account</th>
              <th scope="col">Tier</th>
              <th scope="col" class="number">
                Budget for a month
              </th>
              <th scope="col">
                <span class="hidden-text">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {accounts.value.map((account) => (
              <tr key={account.id}>
                <td class="whole">{account.id}</td>
                <td data-name="Tier">{account.tier ?? <span class="dim">that of the settings</span>}</td>
                <td class="number" data-name="Budget for a month">
                  {account.budget === null ? <span class="dim">none</span> : amount(account.budget)}
                </td>
                <td class="number whole actions">
                  <button
                    type="button"
                    class="button quiet"
                    aria-label={`Change ${account.id}`}
                    onClick={() => {
                      changing.value = account
                    }}
                  >
                    Change
                  </button>
                  <button
                    type="button"
                    class="button quiet"
                    aria-label={`Erase ${account.id}`}
                    onClick={() => {
                      erasing.value = account
                    }}
                  >
                    Erase
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {changing.value === undefined ? null : (
        <Change
          account={changing.value}
          onClose={() => {
            changing.value = undefined
          }}
        />
      )}
      {erasing.value === undefined ? null : (
        <Erasure
          account={erasing.value}
          onClose={() => {
            erasing.value = undefined
          }}
        />
      )}
    </section>
  )
}

interface AboutAccount {
  account: Account
  onClose: () => void
}

function Change({ account, onClose }: AboutAccount) {
  const failure = useSignal('')
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    const [tier, budget] = [String(form.get('tier')).trim(), String(form.get('budget')).trim()]
    try {
      await keyActions.change(account.id, { tier: tier || null, budget: budget === '' ? null : Number(budget) })
      await readKeys()
      onClose()
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  return (
    <Dialog title={`Limits of ${account.id}`} onClose={onClose}>
      <form class="form" onSubmit={(event) => void save(event)}>
        <label class="field">
          <span>Tier</span>
          <input class="input" name="tier" defaultValue={account.tier ?? ''} placeholder="that of the settings" />
          <span class="hint">A name of the configuration file, which has the limits of each tier.</span>
        </label>
        <label class="field">
          <span>Budget for a month, all keys together</span>
          <input
            class="input"
            name="budget"
            type="number"
            min="0"
            step="any"
            defaultValue={account.budget === null ? '' : String(account.budget)}
            placeholder="none"
          />
        </label>
        <Failure text={failure.value} />
        <p class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary">
            Save
          </button>
        </p>
      </form>
    </Dialog>
  )
}

/** The name must be typed: nothing brings an account back. */
function Erasure({ account, onClose }: AboutAccount) {
  const failure = useSignal('')
  const typed = useSignal('')
  const erase = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    try {
      const { keys, requests } = await keyActions.erase(account.id)
      announce(`${keys} keys and the usage of ${requests} requests are erased.`)
      await readKeys()
      onClose()
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  return (
    <Dialog title={`Erase ${account.id}?`} onClose={onClose}>
      <form class="form" onSubmit={(event) => void erase(event)}>
        <p>Its keys stop working, and its usage is removed. Nothing brings them back.</p>
        <label class="field">
          <span>Type the name of the account to erase it</span>
          <input
            class="input"
            autocomplete="off"
            value={typed.value}
            onInput={(event) => {
              typed.value = event.currentTarget.value
            }}
          />
        </label>
        <Failure text={failure.value} />
        <p class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>
            Keep it
          </button>
          <button type="submit" class="button danger" disabled={typed.value !== account.id}>
            Erase
          </button>
        </p>
      </form>
    </Dialog>
  )
}
