import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { pause } from '../../pause.ts'
import { type Curve, curveOf, isActive, type Job, type Point } from '../../server/tuning.ts'

/** How often it is read again while the job runs, in ms; less often where it is long. */
const often = 2000
const stepsOften = 2000

/** The loss of a job, which moves while it is trained. */
export function LossCurve({ job }: { job: Job }) {
  const curve = useSignal<Curve>({ steps: [], evaluations: [] })
  const active = isActive(job)
  const latest = useSignal(job)
  latest.value = job
  useEffect(() => {
    const over = new AbortController()
    const follow = async (): Promise<void> => {
      for (;;) {
        const read = await curveOf(latest.value).catch(() => curve.value)
        if (over.signal.aborted) return
        curve.value = read
        if (!active) return
        await pause(often * Math.max(1, Math.ceil(read.steps.length / stepsOften)))
        if (over.signal.aborted) return
      }
    }
    void follow()
    return () => over.abort()
  }, [active, job.name])
  const { steps, evaluations } = curve.value
  const [first, last] = [steps[0], steps.at(-1)]
  if (first === undefined || last === undefined) return null
  const total = Math.max(job.jobProgress.steps ?? 0, last.step)
  const highest = Math.max(...thinned(steps).map(({ loss }) => loss), ...evaluations.map(({ loss }) => loss)) || 1
  const evaluation = evaluations.at(-1)
  return (
    <figure class="curve">
      <figcaption class="small dim">
        <span class="loss-key">Loss</span>
        {evaluation === undefined ? null : <span class="evaluation-key">of examples kept for evaluation</span>}
      </figcaption>
      <div class="plot">
        <span class="small dim figure">{figure(highest)}</span>
        <svg
          viewBox="0 0 100 100"
          preserveAspectRatio="none"
          role="img"
          aria-label={`Loss: ${figure(first.loss)} at the first step, ${figure(last.loss)} at step ${last.step} of ${total}${
            evaluation === undefined ? '' : `; ${figure(evaluation.loss)} of examples kept for evaluation`
          }`}
        >
          <polyline class="each" points={lineOf(thinned(steps), total, highest)} />
          <polyline class="loss" points={lineOf(smoothed(thinned(steps)), total, highest)} />
          <polyline class="evaluation" points={lineOf(evaluations, total, highest)} />
        </svg>
        <span class="small dim figure">0</span>
        <span class="small dim figure end">step {total}</span>
      </div>
    </figure>
  )
}

/** With three digits that count. */
export const figure = (loss: number): string => (loss >= 0.001 ? loss.toPrecision(3) : loss.toExponential(1))

const lineOf = (points: readonly Point[], total: number, highest: number): string =>
  points.map(({ step, loss }) => `${(100 * step) / total},${100 - (100 * loss) / highest}`).join(' ')

/** Points that a line is drawn through, at most. */
const most = 400

/** Means of neighbours, so that few points are left. */
function thinned(points: readonly Point[]): Point[] {
  const each = Math.ceil(points.length / most)
  if (each <= 1) return [...points]
  return Array.from({ length: Math.ceil(points.length / each) }, (_, at) => {
    const some = points.slice(at * each, (at + 1) * each)
    return { step: some.at(-1)?.step ?? 0, loss: some.reduce((sum, { loss }) => sum + loss, 0) / some.length }
  })
}

/** The mean of the last ones, in which a tenth of the line has its say. */
function smoothed(points: readonly Point[]): Point[] {
  const share = Math.min(1, 20 / Math.max(20, points.length))
  let mean = points[0]?.loss ?? 0
  return points.map(({ step, loss }) => {
    mean += (loss - mean) * Math.max(share, 0.1)
    return { step, loss: mean }
  })
}
