import { useSignal } from '@preact/signals'
import { finished, type Phases, type Running, snapshot } from '../../server/activity.ts'
import { amount, count, duration } from '../../ui/figures.ts'
import { PhaseBar, PhaseLegend } from '../../ui/phases.tsx'

const phaseNames: Record<Running['phase'], string> = {
  loading: 'Waiting for the model',
  media: 'Reading pictures',
  queued: 'Waiting',
  encoding: 'Encoding pictures',
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
        <div class="scroll card">
          <table class="table stacks">
            <thead>
              <tr>
                <th scope="col">Model</th>
                <th scope="col">Account</th>
                <th scope="col">Phase</th>
                <th scope="col" class="number">
                  Prompt
                </th>
                <th scope="col" class="number">
                  Answer
                </th>
                <th scope="col" class="number">
                  For
                </th>
              </tr>
            </thead>
            <tbody>
              {running.map((request) => (
                <tr key={request.id}>
                  <td class="whole">{request.model}</td>
                  <td data-name="Account">{request.account}</td>
                  <td data-name="Phase">
                    {phaseNames[request.phase]} <span class="dim figure">{duration(request.phase_ms)}</span>
                  </td>
                  <td class="number" data-name="Prompt">
                    {request.prompt_tokens === null ? '' : count(request.prompt_tokens)}
                  </td>
                  <td class="number" data-name="Answer">
                    {count(request.output_tokens)}
                  </td>
                  <td class="number" data-name="For">
                    {duration(request.age_ms)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

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
        <div class="scroll card">
          <table class="table stacks dense">
            <thead>
              <tr>
                <th scope="col">At</th>
                <th scope="col">Status</th>
                <th scope="col">Request</th>
                <th scope="col" class="phases-column">
                  Time
                </th>
                <th scope="col" class="number">
                  First token
                </th>
                <th scope="col" class="number">
                  Prompt
                </th>
                <th scope="col" class="number">
                  Answer
                </th>
                <th scope="col" class="number">
                  Cost
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((request) => (
                <tr key={request.id}>
                  <td class="figure">{clock.format(new Date(request.ended_at))}</td>
                  <td>
                    <Status status={request.status} error={request.error} />
                  </td>
                  <td class="whole">
                    {request.model} <span class="dim">for {request.account}</span>
                    <div class="small dim mono">{request.endpoint}</div>
                  </td>
                  <td class="whole">
                    <span class="figure">{duration(request.duration_ms)}</span>
                    <PhaseBar times={timesOf(request.phases)} />
                  </td>
                  <td class="number" data-name="First token">
                    {request.first_token_ms === null ? '' : duration(request.first_token_ms)}
                  </td>
                  <td class="number" data-name="Prompt">
                    {count(request.tokens.text + request.tokens.image)}
                    {request.images === 0 ? null : (
                      <div class="small dim">
                        {count(request.images)} {request.images === 1 ? 'picture' : 'pictures'}
                      </div>
                    )}
                  </td>
                  <td class="number" data-name="Answer">
                    {count(request.tokens.output)}
                  </td>
                  <td class="number" data-name="Cost">
                    {request.cost === 0 ? '' : amount(request.cost)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
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
