import { amount, count, duration } from '../../../ui/figures.ts'
import { PhaseBar } from '../../../ui/phases.tsx'
import { type Figures, type Phase, phases } from '../state/conversation.ts'

const names: Record<Phase, string> = {
  queue: 'Waiting',
  media: 'Reading files',
  encode: 'Encoding files',
  prefill: 'Prefill',
  generation: 'Generation',
}

/** Where the time of an answer went, and how fast it came. */
export function Timing({ figures }: { figures: Figures }) {
  const { phases: ms, promptTokens, cachedTokens, imageTokens, outputTokens, cost } = figures
  const total = phases.reduce((sum, phase) => sum + ms[phase], 0)
  const speed = ms.generation > 0 && outputTokens > 1 ? (1000 * (outputTokens - 1)) / ms.generation : undefined
  const rows: [name: string, value: string][] = [
    ...phases.map((phase): [string, string] => [names[phase], duration(ms[phase])]),
    ['First word after', duration(total - ms.generation)],
    ['Prompt', `${count(promptTokens)} tokens, ${count(imageTokens)} of pictures, ${count(cachedTokens)} cached`],
    ['Answer', `${count(outputTokens)} tokens`],
  ]
  return (
    <details class="timing small dim figure">
      <summary>
        <PhaseBar times={ms} />
        <span>
          {duration(total)}
          {speed !== undefined && ` · ${speed >= 100 ? count(Math.round(speed)) : speed.toFixed(1)} tokens/s`}
          {` · ${count(promptTokens)} + ${count(outputTokens)} tokens`}
          {cost > 0 && ` · costs ${amount(cost)}`}
        </span>
      </summary>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </details>
  )
}
