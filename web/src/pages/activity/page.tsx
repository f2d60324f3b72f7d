import './activity.css'
import { signal, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import {
  activityError,
  followActivity,
  isLive,
  promptTokens,
  snapshot,
  type Tokens,
  type Window,
} from '../../server/activity.ts'
import { apiKey } from '../../server/client.ts'
import { count, duration } from '../../ui/figures.ts'
import { Refused } from '../../ui/refused.tsx'
import { Chart } from './chart.tsx'
import { Costs } from './costs.tsx'
import { FinishedRequests, RunningRequests } from './requests.tsx'
import { Residents } from './residents.tsx'

/** What the server does now, and what it has done in the last hour. */
export default function Page() {
  const attempt = useSignal(0)
  useEffect(() => {
    const over = new AbortController()
    void followActivity(over.signal)
    return () => {
      over.abort()
      isLive.value = false
    }
  }, [attempt.value, apiKey.value])
  const error = activityError.value
  return (
    <div class="page activity">
      <header>
        <h1>Activity</h1>
        <p class={`chip ${isLive.value ? 'good' : 'warn'}`} role="status">
          {isLive.value ? 'Live' : snapshot.value === undefined && error === undefined ? 'Connecting' : 'Not live'}
        </p>
      </header>
      {error === undefined ? null : <Refused error={error} again={() => attempt.value++} />}
      {snapshot.value === undefined ? (
        error === undefined ? (
          <section aria-busy="true" aria-label="Figures">
            <Periods />
            <div class="tiles">
              {['a', 'b', 'c', 'd', 'e', 'f'].map((tile) => (
                <div key={tile} class="tile card waiting" />
              ))}
            </div>
          </section>
        ) : null
      ) : (
        <>
          <Windows windows={snapshot.value.windows} />
          <Charts />
          <RunningRequests />
          <Residents />
          <FinishedRequests />
          <Costs />
        </>
      )}
    </div>
  )
}

const periods = { 1: 'Last minute', 5: 'Last 5 minutes', 60: 'Last hour' } as const

/** Of the figures, in minutes. */
const minutes = signal<1 | 5 | 60>(5)

const Periods = () => (
  <fieldset class="periods">
    <legend class="hidden-text">Period</legend>
    {([1, 5, 60] as const).map((period) => (
      <label key={period} class="choice">
        <input
          type="radio"
          name="period"
          checked={minutes.value === period}
          onChange={() => {
            minutes.value = period
          }}
        />
        {periods[period]}
      </label>
    ))}
  </fieldset>
)

function Windows({ windows }: { windows: readonly Window[] }) {
  const window = windows.find((one) => one.minutes === minutes.value)
  if (window === undefined) return null
  const { first_token_ms: first, token_ms: each, tokens, errors } = window
  const failed = Object.entries(errors).toSorted(([, a], [, b]) => b - a)
  return (
    <section aria-label="Figures">
      <Periods />
      <dl class="tiles">
        <Tile name="Requests" value={count(window.requests)} more={rate(window.requests_per_second)} />
        <Tile
          name="First token"
          value={first === null ? '—' : duration(first.p50)}
          more={first === null ? '' : `p90 ${duration(first.p90)}, p99 ${duration(first.p99)}`}
        />
        <Tile
          name="Each further token"
          value={each === null ? '—' : `${each.p50.toFixed(1)} ms`}
          more={each === null ? '' : `p90 ${each.p90.toFixed(1)}, p99 ${each.p99.toFixed(1)} ms`}
        />
        <Tile name="Tokens" value={count(promptTokens(tokens) + tokens.output)} more={tokensText(tokens)} />
        <Tile
          name="From caches"
          value={window.prefix_hit_rate === null ? '—' : percent(window.prefix_hit_rate)}
          more={
            window.image_hit_rate === null
              ? 'of prompt tokens'
              : `of prompt tokens; pictures ${percent(window.image_hit_rate)}`
          }
        />
        <Tile
          name="Errors"
          value={count(failed.reduce((sum, [, times]) => sum + times, 0))}
          more={failed.map(([kind, times]) => `${times} ${kind.replaceAll('_', ' ')}`).join(', ')}
        />
      </dl>
    </section>
  )
}

const Tile = ({ name, value, more }: { name: string; value: string; more: string }) => (
  <div class="tile card">
    <dt>{name}</dt>
    <dd class="value figure">{value}</dd>
    <dd class="small dim figure">{more}</dd>
  </div>
)

/** @param each a second */
const rate = (each: number): string =>
  each >= 1 || each === 0 ? `${each.toFixed(1)} a second` : `${(60 * each).toFixed(1)} a minute`

const percent = (share: number): string => `${Math.round(share * 100)} %`

function Charts() {
  const series = snapshot.value?.series
  if (series === undefined) return null
  const end = Date.parse(series.end_at) / 1000
  const times = series.requests.map((_, index, all) => end - (all.length - 1 - index) * series.step_seconds)
  return (
    <section class="charts" aria-labelledby="hour">
      <h2 id="hour" class="hidden-text">
        The last hour
      </h2>
      <Chart
        title="Requests a minute"
        times={times}
        format={(value) => count(value)}
        lines={[
          { label: 'requests', colour: '--accent', values: series.requests },
          { label: 'errors', colour: '--bad', values: series.errors },
        ]}
      />
      <Chart
        title="Tokens a minute"
        times={times}
        format={(value) => count(Math.round(value))}
        lines={[
          { label: 'prompt', colour: '--phase-encode', values: series.prompt_tokens },
          { label: 'output', colour: '--accent', values: series.output_tokens },
        ]}
      />
      <Chart
        title="First token, half of them within"
        times={times}
        format={(value) => duration(value)}
        lines={[{ label: 'first token', colour: '--accent', values: series.first_token_ms }]}
      />
    </section>
  )
}

/** `1,200 text, 600 image, 90 output`. Kinds of attachments that were not sent are left out. */
function tokensText(tokens: Tokens): string {
  const kinds = (['text', 'image', 'video', 'audio', 'output'] as const).filter(
    (kind) => tokens[kind] > 0 || ['text', 'image', 'output'].includes(kind),
  )
  return kinds.map((kind) => `${count(tokens[kind])} ${kind}`).join(', ')
}
