import { useSignal } from '@preact/signals'
import { useId } from 'preact/hooks'
import { isActive, isDone, type Job, jobsRefusal, readTuning, shortOf, tuningActions } from '../../server/tuning.ts'
import { announce } from '../../ui/announce.tsx'
import { Fact } from '../../ui/facts.tsx'
import { Failure } from '../../ui/failure.tsx'
import { count, day, duration } from '../../ui/figures.ts'
import { FormDialog } from '../../ui/form-dialog.tsx'
import { Progress } from '../../ui/progress.tsx'
import { figure, LossCurve } from './curve.tsx'
import { DownloadDialog } from './download.tsx'

const states: Readonly<Record<string, readonly [text: string, tone: '' | 'good' | 'warn' | 'bad']>> = {
  JOB_STATE_PENDING: ['Waits for its turn', ''],
  JOB_STATE_VALIDATING: ['Prepares its examples', ''],
  JOB_STATE_RUNNING: ['Learns', ''],
  JOB_STATE_WRITING_RESULTS: ['Writes the adapter', ''],
  JOB_STATE_PAUSED: ['Paused', 'warn'],
  JOB_STATE_CANCELLING: ['Is being stopped', 'warn'],
  JOB_STATE_CANCELLED: ['Cancelled', 'warn'],
  JOB_STATE_FAILED: ['Failed', 'bad'],
  JOB_STATE_COMPLETED: ['Done', 'good'],
  JOB_STATE_EARLY_STOPPED: ['Done, stopped early', 'good'],
}

/** A job: how far it is, how well it learns, and what can be done with it. */
export function JobCard({ job }: { job: Job }) {
  const heading = useId()
  const failure = useSignal('')
  const asking = useSignal<'removal' | 'download' | undefined>(undefined)
  const [text, tone] = states[job.state] ?? [job.state, '']
  const attempt = (act: () => Promise<unknown>, said: string) => async (): Promise<void> => {
    failure.value = ''
    try {
      await act()
      announce(said)
      await readTuning()
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  const change = (verb: Parameters<typeof tuningActions.change>[1], said: string) =>
    attempt(() => tuningActions.change(job, verb), said)
  const name = shortOf(job.outputModel)
  const isRefused = jobsRefusal.value !== ''
  const isStopped = ['JOB_STATE_PAUSED', 'JOB_STATE_CANCELLED', 'JOB_STATE_FAILED'].includes(job.state)
  return (
    <article class="job card" aria-labelledby={heading}>
      <header>
        <div>
          <h3 id={heading} class="mono">
            {name}
          </h3>
          <p class="small dim">
            {job.displayName === '' ? null : `${job.displayName} · `}
            {job.warmStartFrom === undefined
              ? shortOf(job.baseModel)
              : `${shortOf(job.baseModel)}, on from ${shortOf(job.warmStartFrom)}`}{' '}
            · {shortOf(job.dataset)} · {day(job.createTime)}
          </p>
        </div>
        <span class={`chip ${tone}`}>{text}</span>
      </header>
      {isActive(job) ? <JobProgress job={job} label={text} /> : null}
      {job.jobProgress.step > 0 ? <LossCurve job={job} /> : null}
      <Facts job={job} />
      {job.status.message === '' ? null : <p class="note bad">{job.status.message}</p>}
      <Failure text={failure.value} />
      <footer>
        {isDone(job) ? (
          <>
            <a class="button primary" href={`/?model=${encodeURIComponent(name)}`} data-page>
              Ask it
            </a>
            <button
              type="button"
              class="button"
              onClick={() => {
                asking.value = 'download'
              }}
            >
              Download
            </button>
          </>
        ) : null}
        {isStopped ? (
          <button
            type="button"
            class="button primary"
            disabled={isRefused}
            onClick={change('resume', `${name} goes on.`)}
          >
            Resume
          </button>
        ) : null}
        {job.state === 'JOB_STATE_RUNNING' || job.state === 'JOB_STATE_VALIDATING' ? (
          <button
            type="button"
            class="button"
            disabled={isRefused}
            onClick={change('pause', `${name} is being paused.`)}
          >
            Pause
          </button>
        ) : null}
        {isActive(job) ? (
          <button
            type="button"
            class="button"
            disabled={isRefused}
            onClick={change('cancel', `${name} is being stopped.`)}
          >
            Cancel
          </button>
        ) : (
          <button
            type="button"
            class="button quiet"
            disabled={isRefused}
            onClick={() => {
              asking.value = 'removal'
            }}
          >
            Remove
          </button>
        )}
      </footer>
      {asking.value === 'removal' ? (
        <FormDialog
          title={`Remove the job of ${name}?`}
          action="Remove"
          cancel="Keep it"
          isDanger
          onSubmit={async () => {
            await tuningActions.removeJob(job)
            announce('The job is removed.')
            await readTuning()
          }}
          onClose={() => {
            asking.value = undefined
          }}
        >
          <p>
            {isDone(job)
              ? 'Its adapter stays. The loss curve goes.'
              : 'Its checkpoint goes, too: it cannot be resumed any more.'}
          </p>
        </FormDialog>
      ) : null}
      {asking.value === 'download' ? (
        <DownloadDialog
          title={`Download ${name}`}
          name={job.outputModel}
          onClose={() => {
            asking.value = undefined
          }}
        />
      ) : null}
    </article>
  )
}

/** How far it is: with preparing while it prepares, with training while it learns. */
function JobProgress({ job, label }: { job: Job; label: string }) {
  const { percent, step, steps, secondsLeft, totalInputRequests, totalProcessedRequests } = job.jobProgress
  const isPreparing = job.state === 'JOB_STATE_VALIDATING' && totalInputRequests > 0
  const share = isPreparing ? totalProcessedRequests / totalInputRequests : percent / 100
  const parts = isPreparing
    ? [`${count(totalProcessedRequests)} of ${count(totalInputRequests)} examples`]
    : [
        ...(steps === undefined ? [] : [`step ${count(step)} of ${count(steps)}`]),
        ...(secondsLeft === undefined ? [] : [`${duration(secondsLeft * 1000)} left`]),
      ]
  return <Progress label={label} share={share} text={parts.join(' · ')} isNamed={false} />
}

function Facts({ job }: { job: Job }) {
  const { totalInputRequests: examples, inputTokens, loss, evaluationLoss, truncatedExamples } = job.jobProgress
  return (
    <dl class="facts">
      <Fact name="Examples">
        {examples === 0 ? '—' : count(examples)}
        {truncatedExamples === 0 ? null : <span class="small dim"> {count(truncatedExamples)} were cut</span>}
      </Fact>
      <Fact name="Tokens trained">{inputTokens === 0 ? '—' : count(inputTokens)}</Fact>
      <Fact name="Loss">{loss === undefined ? '—' : figure(loss)}</Fact>
      <Fact name="Evaluation loss">{evaluationLoss === undefined ? '—' : figure(evaluationLoss)}</Fact>
      <Fact name="Epochs">{job.epochs}</Fact>
      <Fact name="Rank, learning rate">
        {job.loraRank}, {job.learningRate}
      </Fact>
    </dl>
  )
}
