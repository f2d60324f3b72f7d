import { useSignal } from '@preact/signals'
import { type Key, type KeyWithSecret, keyActions, readKeys, scopes, spent, stateOf } from '../../server/keys.ts'
import { announce } from '../../ui/announce.tsx'
import { amount, day } from '../../ui/figures.ts'
import { FormDialog } from '../../ui/form-dialog.tsx'
import { type Column, Table } from '../../ui/table.tsx'

interface KeyTableProps {
  keys: readonly Key[]
  onSecret: (made: KeyWithSecret) => void
}

/** All keys, with what they may do and what they have cost. */
export function KeyTable({ keys, onSecret }: KeyTableProps) {
  const asked = useSignal<{ of: Key; what: 'revoke' | 'rotate' } | undefined>(undefined)
  const columns: readonly Column<Key>[] = [
    ...facts,
    {
      ...{ name: 'Actions', kind: 'number whole actions', isPlain: true, isHidden: true },
      cell: (key) =>
        stateOf(key).tone === 'good' &&
        (['rotate', 'revoke'] as const).map((what) => (
          <button
            key={what}
            type="button"
            class="button quiet"
            aria-label={`${verbs[what]} ${key.note === '' ? key.prefix : key.note}`}
            onClick={() => {
              asked.value = { of: key, what }
            }}
          >
            {verbs[what]}
          </button>
        )),
    },
  ]
  return (
    <>
      <Table
        columns={columns}
        rows={keys}
        keyOf={({ id }) => id}
        rowClass={(key) => (stateOf(key).tone === 'bad' ? 'dim' : '')}
      />
      {asked.value !== undefined && (
        <Confirmation
          {...asked.value}
          onSecret={onSecret}
          onClose={() => {
            asked.value = undefined
          }}
        />
      )}
    </>
  )
}

const verbs = { rotate: 'Rotate', revoke: 'Revoke' } as const

const facts: readonly Column<Key>[] = [
  {
    ...{ name: 'Key', kind: 'whole', isPlain: true },
    cell: ({ note, prefix }) => (
      <>
        {note !== '' && <div>{note}</div>}
        <code>{prefix}…</code>
      </>
    ),
  },
  { name: 'Account', kind: 'wrap', cell: ({ account }) => account },
  {
    ...{ name: 'May', kind: 'may' },
    cell: (key) => (
      <>
        {key.scopes.map((scope) => (
          <div key={scope}>{scopes[scope]}</div>
        ))}
        <div class="small dim">{key.models === null ? 'all models' : key.models.join(', ')}</div>
      </>
    ),
  },
  {
    ...{ name: 'This month', kind: 'number' },
    cell: ({ id, budget }) => (
      <>
        {amount(spent.value.get(id) ?? 0)}
        {budget !== null && <div class="small dim">of {amount(budget)}</div>}
      </>
    ),
  },
  { name: 'Made', kind: 'figure', cell: ({ created }) => day(created) },
  {
    name: 'State',
    cell: (key) => {
      const { text, tone } = stateOf(key)
      return (
        <>
          <span class={`chip ${tone}`}>{text}</span>
          {key.expires !== null && <div class="small dim figure">until {day(key.expires)}</div>}
        </>
      )
    },
  },
]

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
  const revokes = what === 'revoke'
  const act = async (form: FormData): Promise<void> => {
    if (revokes) {
      await keyActions.revoke(of.id)
      announce('The key is revoked.')
    } else onSecret(await keyActions.rotate(of.id, Number(form.get('grace'))))
    onClose()
    await readKeys()
  }
  return (
    <FormDialog
      title={revokes ? 'Revoke this key?' : 'Give this key a new secret?'}
      action={revokes ? 'Revoke' : 'Make a new secret'}
      isDanger={revokes}
      onSubmit={act}
      onClose={onClose}
    >
      <p>
        <code>{of.prefix}…</code> of {of.account}
        {revokes ? ' stops working at once, and cannot be brought back.' : ' gets a new secret.'}
      </p>
      {!revokes && (
        <label class="field">
          <span>The old secret stops working</span>
          <select class="input" name="grace">
            {graces.map(([seconds, text]) => (
              <option key={seconds} value={seconds}>
                {text}
              </option>
            ))}
          </select>
        </label>
      )}
    </FormDialog>
  )
}
