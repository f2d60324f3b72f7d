import { useSignal } from '@preact/signals'
import { actions, listing, type Model, type Pull, pulls } from '../../server/models.ts'
import { bytes, duration } from '../../ui/figures.ts'
import { Progress } from '../../ui/progress.tsx'

/** The downloads that belong to no model of the list: of other models of the hub, and those that failed. */
export function Downloads() {
  const models = listing.value?.models ?? []
  const shown = pulls.value.filter(
    (pull) => ['running', 'failed'].includes(pull.state) && !models.some((model) => isOf(pull, model)),
  )
  if (shown.length === 0) return null
  return (
    <section aria-labelledby="downloads">
      <h2 id="downloads">Downloads</h2>
      <div class="models">
        {shown.map((pull) => (
          <Download key={pull.id} pull={pull} />
        ))}
      </div>
    </section>
  )
}

function Download({ pull }: { pull: Pull }) {
  const failure = useSignal('')
  const end = async (): Promise<void> => {
    try {
      await actions.cancel(pull.id)
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  const problem = pull.error?.message ?? failure.value
  return (
    <article class="model card" aria-labelledby={pull.id}>
      <h3 id={pull.id} class="mono">
        {pull.model}
      </h3>
      {pull.state === 'running' ? <PullProgress pull={pull} /> : null}
      {problem === '' ? null : (
        <p class="note bad" role="alert">
          {problem}
        </p>
      )}
      <footer>
        <button type="button" class="button" onClick={() => void end()}>
          {pull.state === 'running' ? 'Cancel' : 'Dismiss'}
        </button>
      </footer>
    </article>
  )
}

export const isOf = (pull: Pull, { id, aliases, pull: own }: Model): boolean =>
  pull.id === own?.id || [pull.model, pull.served_as].some((name) => name === id || aliases.includes(name ?? ''))

const steps: Record<NonNullable<Pull['step']>, string> = {
  asking: 'Asking for its files',
  downloading: 'Downloading',
  checking: 'Checking',
  waiting: 'Waiting for another download of it',
  retrying: 'Trying again',
}

export function PullProgress({ pull }: { pull: Pull }) {
  const share = pull.total_bytes === 0 ? 0 : pull.done_bytes / pull.total_bytes
  const speed = pull.bytes_per_second === null ? [] : `${bytes(pull.bytes_per_second)}/s`
  const left = pull.seconds_left === null ? [] : `${duration(pull.seconds_left * 1000)} left`
  const size = pull.total_bytes === 0 ? [] : `${bytes(pull.done_bytes)} of ${bytes(pull.total_bytes)}`
  const step = pull.step === null ? 'Downloading' : steps[pull.step]
  return <Progress label={step} share={share} text={[size, speed, left, pull.note ?? []].flat().join(' · ')} />
}
