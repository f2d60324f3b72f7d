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
          <table class="table">
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
                  <td>{request.model}</td>
                  <td>{request.account}</td>
                  <td>
                    {phaseNames[request.phase]} <span class="dim figure">{duration(request.phase_ms)}</span>
                  </td>
                  <td class="number">{request.prompt_tokens === null ? '' : count(request.prompt_tokens)}</td>
                  <td class="number">{count(request.output_tokens)}</td>
                  <td class="number">{duration(request.age_ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

/** The requests that ended last. */
export function FinishedRequests() {
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
          <table class="table">
            <thead>
              <tr>
                <th scope="col">At</th>
                <th scope="col">Request</th>
                <th scope="col">Status</th>
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
              {finished.value.slice(0, 100).map((request) => (
                <tr key={request.id}>
                  <td class="figure">{clock.format(new Date(request.ended_at))}</td>
                  <td>
                    {request.model} <span class="dim">for {request.account}</span>
                    <div class="small dim mono">{request.endpoint}</div>
                  </td>
                  <td>
                    <Status status={request.status} error={request.error} />
                  </td>
                  <td>
                    <span class="figure">{duration(request.duration_ms)}</span>
                    <PhaseBar times={timesOf(request.phases)} />
                  </td>
                  <td class="number">{request.first_token_ms === null ? '' : duration(request.first_token_ms)}</td>
                  <td class="number">
                    {count(request.tokens.text + request.tokens.image)}
                    {request.images === 0 ? null : (
                      <div class="small dim">
                        {count(request.images)} {request.images === 1 ? 'picture' : 'pictures'}
                      </div>
                    )}
                  </td>
                  <td class="number">{count(request.tokens.output)}</td>
                  <td class="number">{request.cost === 0 ? '' : amount(request.cost)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
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
