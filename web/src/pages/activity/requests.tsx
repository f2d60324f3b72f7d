import { useSignal } from '@preact/signals'
import { type Finished, finished, type Phases, promptTokens, type Running, snapshot } from '../../server/activity.ts'
import { amount, count, duration } from '../../ui/figures.ts'
import { PhaseBar, PhaseLegend } from '../../ui/phases.tsx'
import { type Column, Table } from '../../ui/table.tsx'

const phaseNames: Record<Running['phase'], string> = {
  loading: 'Waiting for the model',
  media: 'Reading files',
  queued: 'Waiting',
  encoding: 'Encoding files',
  prefill: 'Prefill',
  decoding: 'Answering',
}

/** The requests of this moment. */
export function RunningRequests() {
  const { running = [], running_count: all = 0 } = snapshot.value ?? {}
  return (
    <section aria-labelledby="running">
      <h2 id="running">
        Now <span class="dim figure">{count(all)}</span>
      </h2>
      {running.length === 0 ? (
        <p class="empty card">No request is running.</p>
      ) : (
        <Table columns={runningColumns} rows={running} keyOf={({ id }) => id} />
      )}
    </section>
  )
}

const runningColumns: readonly Column<Running>[] = [
  { name: 'Model', kind: 'whole', isPlain: true, cell: ({ model }) => model },
  { name: 'Account', cell: ({ account }) => account },
  {
    name: 'Phase',
    cell: ({ phase, phase_ms }) => (
      <>
        {phaseNames[phase]} <span class="dim figure">{duration(phase_ms)}</span>
      </>
    ),
  },
  {
    ...{ name: 'Prompt', kind: 'number' },
    cell: ({ prompt_tokens: tokens }) => (tokens === null ? '' : count(tokens)),
  },
  { name: 'Answer', kind: 'number', cell: ({ output_tokens }) => count(output_tokens) },
  { name: 'For', kind: 'number', cell: ({ age_ms }) => duration(age_ms) },
]

/** How many requests are shown at first. */
const few = 20

/** The requests that ended last. */
export function FinishedRequests() {
  const all = useSignal(false)
  const shown = all.value ? finished.value : finished.value.slice(0, few)
  const hidden = finished.value.length - shown.length
  return (
    <section aria-labelledby="finished">
      <div class="with-legend">
        <h2 id="finished">Ended</h2>
        <PhaseLegend />
      </div>
      {finished.value.length === 0 ? (
        <p class="empty card">No request has ended since the server started.</p>
      ) : (
        <Table columns={finishedColumns} rows={shown} keyOf={({ id }) => id} isDense />
      )}
      {hidden > 0 ? (
        <p class="more">
          <button
            type="button"
            class="button"
            onClick={() => {
              all.value = true
            }}
          >
            View {count(hidden)} more
          </button>
        </p>
      ) : null}
    </section>
  )
}

const finishedColumns: readonly Column<Finished>[] = [
  { name: 'At', kind: 'figure', isPlain: true, cell: ({ ended_at }) => clock.format(new Date(ended_at)) },
  { name: 'Status', isPlain: true, cell: ({ status, error }) => <Status status={status} error={error} /> },
  {
    ...{ name: 'Request', kind: 'whole', isPlain: true },
    cell: ({ model, account, endpoint }) => (
      <>
        {model} <span class="dim">for {account}</span>
        <div class="small dim mono">{endpoint}</div>
      </>
    ),
  },
  {
    ...{ name: 'Time', kind: 'whole phases-column', isPlain: true },
    cell: ({ duration_ms, phases }) => (
      <>
        <span class="figure">{duration(duration_ms)}</span>
        <PhaseBar times={timesOf(phases)} />
      </>
    ),
  },
  {
    ...{ name: 'First token', kind: 'number' },
    cell: ({ first_token_ms: first }) => (first === null ? '' : duration(first)),
  },
  {
    ...{ name: 'Prompt', kind: 'number' },
    cell: ({ tokens, images }) => (
      <>
        {count(promptTokens(tokens))}
        {images > 0 && (
          <div class="small dim">
            {count(images)} {images === 1 ? 'picture' : 'pictures'}
          </div>
        )}
      </>
    ),
  },
  { name: 'Answer', kind: 'number', cell: ({ tokens }) => count(tokens.output) },
  { name: 'Cost', kind: 'number', cell: ({ cost }) => (cost === 0 ? '' : amount(cost)) },
]

const timesOf = (phases: Phases) => ({
  load: phases.load_ms,
  queue: phases.queue_ms,
  media: phases.media_ms,
  encode: phases.encode_ms,
  prefill: phases.prefill_ms,
  generation: phases.decode_ms,
})

function Status({ status, error }: { status: number; error: string | null }) {
  if (status === 499) return <span class="chip warn">left</span>
  const tone = status < 400 ? 'good' : status < 500 ? 'warn' : 'bad'
  return (
    <span class={`chip ${tone} figure`}>
      {status}
      {error === null ? '' : ` ${error}`}
    </span>
  )
}

const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
