import { useSignal } from '@preact/signals'
import { type Account, accounts, keyActions, readKeys } from '../../server/keys.ts'
import { announce } from '../../ui/announce.tsx'
import { amount } from '../../ui/figures.ts'
import { FormDialog } from '../../ui/form-dialog.tsx'
import { type Column, Table } from '../../ui/table.tsx'

/** Accounts, whose tier and budget can be changed. */
export function Accounts() {
  const asked = useSignal<{ of: Account; what: 'change' | 'erase' } | undefined>(undefined)
  const close = (): void => {
    asked.value = undefined
  }
  const columns: readonly Column<Account>[] = [
    { name: 'Account', kind: 'whole', isPlain: true, cell: ({ id }) => id },
    { name: 'Tier', cell: ({ tier }) => tier ?? <span class="dim">that of the settings</span> },
    {
      ...{ name: 'Budget for a month', kind: 'number' },
      cell: ({ budget }) => (budget === null ? <span class="dim">none</span> : amount(budget)),
    },
    {
      ...{ name: 'Actions', kind: 'number whole actions', isPlain: true, isHidden: true },
      cell: (account) =>
        (['change', 'erase'] as const).map((what) => (
          <button
            key={what}
            type="button"
            class="button quiet"
            aria-label={`${verbs[what]} ${account.id}`}
            onClick={() => {
              asked.value = { of: account, what }
            }}
          >
            {verbs[what]}
          </button>
        )),
    },
  ]
  return (
    <section aria-labelledby="accounts">
      <h2 id="accounts">Accounts</h2>
      <Table columns={columns} rows={accounts.value} keyOf={({ id }) => id} />
      {asked.value?.what === 'change' && <Change account={asked.value.of} onClose={close} />}
      {asked.value?.what === 'erase' && <Erasure account={asked.value.of} onClose={close} />}
    </section>
  )
}

const verbs = { change: 'Change', erase: 'Erase' } as const

interface AboutAccount {
  account: Account
  onClose: () => void
}

function Change({ account, onClose }: AboutAccount) {
  const save = async (form: FormData): Promise<void> => {
    const [tier, budget] = [String(form.get('tier')).trim(), String(form.get('budget')).trim()]
    await keyActions.change(account.id, { tier: tier || null, budget: budget === '' ? null : Number(budget) })
    await readKeys()
    onClose()
  }
  return (
    <FormDialog title={`Limits of ${account.id}`} action="Save" onSubmit={save} onClose={onClose}>
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
    </FormDialog>
  )
}

/** The name must be typed: nothing brings an account back. */
function Erasure({ account, onClose }: AboutAccount) {
  const typed = useSignal('')
  const erase = async (): Promise<void> => {
    const { keys, requests } = await keyActions.erase(account.id)
    announce(`${keys} keys and the usage of ${requests} requests are erased.`)
    await readKeys()
    onClose()
  }
  return (
    <FormDialog
      title={`Erase ${account.id}?`}
      action="Erase"
      cancel="Keep it"
      isDanger
      isDisabled={typed.value !== account.id}
      onSubmit={erase}
      onClose={onClose}
    >
      <p>
        Its keys stop working. Its usage, limits, deployments, datasets and fine-tuning jobs are removed. Nothing brings
        them back.
      </p>
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
    </FormDialog>
  )
}
