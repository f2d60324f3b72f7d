import './tuning.css'
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { apiKey } from '../../server/client.ts'
import { datasets, follow, jobs, jobsRefusal, totals, tuningError } from '../../server/tuning.ts'
import { count } from '../../ui/figures.ts'
import { Icon } from '../../ui/icon.tsx'
import { Refused } from '../../ui/refused.tsx'
import { Datasets, NewDatasetDialog } from './datasets.tsx'
import { JobCard } from './job-card.tsx'
import { NewJobDialog } from './new-job.tsx'

/** Fine-tuning: what models learn from, and how far they are. */
export default function Page() {
  const attempt = useSignal(0)
  const making = useSignal<'job' | 'dataset' | undefined>(undefined)
  useEffect(() => {
    const over = new AbortController()
    void follow(over.signal)
    return () => over.abort()
  }, [attempt.value, apiKey.value])
  const error = tuningError.value
  const [sets, all] = [datasets.value, jobs.value]
  const usable = (sets ?? []).filter(({ state }) => state === 'READY')
  const refusal = jobsRefusal.value
  const begin = (what: 'job' | 'dataset') => () => {
    making.value = what
  }
  const close = (): void => {
    making.value = undefined
  }
  return (
    <div class="page tuning">
      <header>
        <h1>Tuning</h1>
        {all === undefined ? null : (
          <button
            type="button"
            class="button primary"
            disabled={usable.length === 0 || refusal !== ''}
            onClick={begin('job')}
          >
            <Icon name="add" />
            New job
          </button>
        )}
      </header>
      {error === undefined ? null : <Refused error={error} again={() => attempt.value++} />}
      {all === undefined || sets === undefined ? (
        error === undefined && <div class="card waiting" aria-busy="true" />
      ) : (
        <>
          <section aria-labelledby="jobs">
            <h2 id="jobs">Jobs</h2>
            {usable.length === 0 ? <p class="dim">A new job needs a dataset that is ready: add one below.</p> : null}
            {refusal === '' ? null : <p class="dim">Jobs cannot be begun or changed from here. {refusal}</p>}
            {all.length === 0 ? (
              <p class="dim">
                A job teaches a model from examples: pictures, questions and the answers that you want. What comes of it
                is an adapter, which requests can use at once.
              </p>
            ) : (
              <div class="jobs">
                {all.map((job) => (
                  <JobCard key={job.name} job={job} />
                ))}
              </div>
            )}
            <Newest shown={all.length} total={totals.value.jobs} />
          </section>
          <section aria-labelledby="datasets">
            <header>
              <h2 id="datasets">Datasets</h2>
              <button type="button" class="button" onClick={begin('dataset')}>
                <Icon name="upload" />
                New dataset
              </button>
            </header>
            {sets.length === 0 ? (
              <p class="dim">
                There are none yet. A dataset is a file with an example in each line, which the server checks.
              </p>
            ) : (
              <Datasets datasets={sets} />
            )}
            <Newest shown={sets.length} total={totals.value.datasets} />
          </section>
        </>
      )}
      {making.value === 'job' ? <NewJobDialog datasets={usable} onClose={close} /> : null}
      {making.value === 'dataset' ? <NewDatasetDialog onClose={close} /> : null}
    </div>
  )
}

/** Says that a list has more than is shown. */
const Newest = ({ shown, total }: { shown: number; total: number }) =>
  shown < total ? (
    <p class="small dim">
      The newest {count(shown)} of {count(total)} are shown.
    </p>
  ) : null
