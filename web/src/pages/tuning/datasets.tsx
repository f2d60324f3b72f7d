import { useSignal } from '@preact/signals'
import { useEffect, useId, useRef } from 'preact/hooks'
import { apiKey } from '../../server/client.ts'
import {
  accountOf,
  type Dataset,
  isBeingChecked,
  readTuning,
  sendDataset,
  shortOf,
  tuningActions,
  visibleAccounts,
} from '../../server/tuning.ts'
import { announce } from '../../ui/announce.tsx'
import { bytes, count, day } from '../../ui/figures.ts'
import { FormDialog } from '../../ui/form-dialog.tsx'
import { type Column, Table } from '../../ui/table.tsx'
import { DownloadDialog } from './download.tsx'

/** The datasets of all accounts that the key may see. */
export function Datasets({ datasets }: { datasets: readonly Dataset[] }) {
  const asked = useSignal<{ does: 'remove' | 'download'; dataset: Dataset } | undefined>(undefined)
  const close = (): void => {
    asked.value = undefined
  }
  const columns: Column<Dataset>[] = [
    {
      name: 'Name',
      kind: 'whole',
      isPlain: true,
      cell: (dataset) => (
        <>
          <span class="mono">{shortOf(dataset.name)}</span>
          {accountOf(dataset.name) === 'local' ? null : <span class="small dim"> {accountOf(dataset.name)}</span>}
          <Problems dataset={dataset} />
        </>
      ),
    },
    { name: 'State', cell: (dataset) => <State dataset={dataset} /> },
    { name: 'Examples', kind: 'number', cell: ({ report }) => figureOf(report?.examples) },
    { name: 'Pictures', kind: 'number', cell: ({ report }) => figureOf(report?.images) },
    { name: 'Repeated', kind: 'number', cell: ({ report }) => figureOf(report?.duplicates) },
    { name: 'Size', kind: 'number', cell: ({ report }) => (report === null ? '—' : bytes(report.bytes)) },
    { name: 'Made', cell: ({ createTime }) => day(createTime) },
    {
      name: 'Actions',
      kind: 'number whole actions',
      isHidden: true,
      isPlain: true,
      cell: (dataset) => (
        <>
          {dataset.state === 'READY' ? (
            <button
              type="button"
              class="button quiet"
              aria-label={`Download ${shortOf(dataset.name)}`}
              onClick={() => {
                asked.value = { does: 'download', dataset }
              }}
            >
              Download
            </button>
          ) : null}
          <button
            type="button"
            class="button quiet"
            aria-label={`Remove ${shortOf(dataset.name)}`}
            onClick={() => {
              asked.value = { does: 'remove', dataset }
            }}
          >
            Remove
          </button>
        </>
      ),
    },
  ]
  return (
    <>
      <Table columns={columns} rows={datasets} keyOf={({ name }) => name} />
      {asked.value?.does === 'remove' ? <Removal dataset={asked.value.dataset} onClose={close} /> : null}
      {asked.value?.does === 'download' ? (
        <DownloadDialog
          title={`Download ${shortOf(asked.value.dataset.name)}`}
          name={asked.value.dataset.name}
          onClose={close}
        />
      ) : null}
    </>
  )
}

const figureOf = (value: number | undefined): string => (value === undefined ? '—' : count(value))

function State({ dataset }: { dataset: Dataset }) {
  if (dataset.state === 'READY') return <span class="chip good">Can be used</span>
  if (dataset.status.code !== 'OK') return <span class="chip bad">Cannot be used</span>
  return <span class="chip">{isBeingChecked(dataset) ? 'Is being checked' : 'Waits for its file'}</span>
}

/** The lines that are wrong, and why. */
function Problems({ dataset: { status, problems } }: { dataset: Dataset }) {
  if (status.code === 'OK') return null
  return (
    <details class="problems small">
      <summary>Why it cannot be used</summary>
      {problems.length === 0 ? <p>{status.message}</p> : null}
      <ul>
        {problems.map(({ line, message }) => (
          <li key={`${line} ${message}`}>
            {line === null ? '' : `Line ${count(line)}: `}
            {message}
          </li>
        ))}
      </ul>
    </details>
  )
}

function Removal({ dataset, onClose }: { dataset: Dataset; onClose: () => void }) {
  const name = shortOf(dataset.name)
  return (
    <FormDialog
      title={`Remove ${name}?`}
      action="Remove"
      cancel="Keep it"
      isDanger
      onSubmit={async () => {
        await tuningActions.removeDataset(dataset)
        announce(`${name} is removed.`)
        await readTuning()
        onClose()
      }}
      onClose={onClose}
    >
      <p>Its file goes from the server. What was learned from it stays.</p>
    </FormDialog>
  )
}

/** Asks for a file, and sends it. */
export function NewDatasetDialog({ onClose }: { onClose: () => void }) {
  const id = useId()
  const name = useSignal('')
  const isSending = useSignal(false)
  // It is sent on when the person has closed this dialog, and perhaps opened another.
  const isOpen = useRef(true)
  useEffect(
    () => () => {
      isOpen.current = false
    },
    [],
  )
  const begin = async (form: FormData): Promise<void> => {
    const file = form.get('file')
    if (!(file instanceof File)) return
    isSending.value = true
    try {
      await sendDataset(String(form.get('account') ?? 'local'), name.value, file)
      announce(`${name.value} can be used.`)
      if (isOpen.current) onClose()
    } finally {
      isSending.value = false
      await readTuning()
    }
  }
  return (
    <FormDialog title="New dataset" action="Send" isDisabled={isSending.value} onSubmit={begin} onClose={onClose}>
      <div class="field">
        <label for={`${id}-file`}>File</label>
        <input
          id={`${id}-file`}
          class="input"
          type="file"
          name="file"
          accept=".jsonl,.ndjson,.json"
          required
          aria-describedby={`${id}-file-hint`}
          onChange={(event) => {
            const chosen = event.currentTarget.files?.[0]
            if (name.value === '' && chosen !== undefined) name.value = idOf(chosen.name)
          }}
        />
        <span id={`${id}-file-hint`} class="hint">
          JSONL: a chat in each line, with its pictures as data URLs and the wanted answer at its end.
        </span>
      </div>
      <div class="field">
        <label for={`${id}-name`}>Name</label>
        <input
          id={`${id}-name`}
          class="input"
          required
          pattern="[a-z0-9][a-z0-9\-]{0,62}"
          title="Small letters, digits and - alone"
          autocomplete="off"
          value={name.value}
          onInput={(event) => {
            name.value = event.currentTarget.value
          }}
        />
      </div>
      {apiKey.value === '' ? null : <AccountField />}
      {isSending.value ? <p class="dim">It is sent, and its lines are checked …</p> : null}
    </FormDialog>
  )
}

/** Whose it will be. A key that is for one account has that one. */
function AccountField() {
  const id = useId()
  const seen = useSignal<readonly string[]>([])
  const typed = useSignal<string | undefined>(undefined)
  useEffect(() => {
    visibleAccounts().then(
      (names) => {
        seen.value = names
      },
      () => {},
    )
  }, [])
  const usual = seen.value.includes('local') ? 'local' : (seen.value[0] ?? 'local')
  return (
    <div class="field">
      <label for={id}>Account</label>
      <input
        id={id}
        class="input"
        name="account"
        required
        autocomplete="off"
        list={`${id}-seen`}
        value={typed.value ?? usual}
        onInput={(event) => {
          typed.value = event.currentTarget.value
        }}
      />
      <datalist id={`${id}-seen`}>
        {seen.value.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </div>
  )
}

/** A name for a file's dataset. */
const idOf = (file: string): string =>
  file
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
