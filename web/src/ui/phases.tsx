import { duration } from './figures.ts'

/** The phases of an answer in their order, with the colours of the design. */
const phases = [
  ['load', 'Loading the model', '--phase-queue'],
  ['queue', 'Waiting', '--phase-queue'],
  ['media', 'Reading files', '--phase-media'],
  ['encode', 'Encoding files', '--phase-encode'],
  ['prefill', 'Prefill', '--phase-prefill'],
  ['generation', 'Generation', '--phase-generation'],
] as const

/** ms of each phase; what is missing or zero is not shown. */
export type PhaseTimes = Partial<Record<(typeof phases)[number][0], number | null>>

/** The time of an answer as a bar, each phase by its share. */
export function PhaseBar({ times }: { times: PhaseTimes }) {
  const shown = phases.flatMap(([name, text, colour]) => {
    const ms = times[name] ?? 0
    return ms >= 0.5 ? [{ name, text, colour, ms }] : []
  })
  const total = shown.reduce((sum, { ms }) => sum + ms, 0)
  if (total === 0) return null
  const said = shown.map(({ text, ms }) => `${text}: ${duration(ms)}`).join(', ')
  return (
    <div class="phases" role="img" aria-label={said} title={said}>
      {shown.map(({ name, colour, ms }) => (
        <span key={name} style={{ width: `${(ms / total) * 100}%`, background: `var(${colour})` }} />
      ))}
    </div>
  )
}

/** What the colours of the bars mean. */
export const PhaseLegend = () => (
  <ul class="phase-legend small dim">
    {phases.slice(1).map(([name, text, colour]) => (
      <li key={name}>
        <span style={{ background: `var(${colour})` }} />
        {text}
      </li>
    ))}
  </ul>
)
