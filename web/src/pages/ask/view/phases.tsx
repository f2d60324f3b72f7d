import { count, duration } from '../../../ui/figures.ts'
import { type Figures, type Phase, phases } from '../state/conversation.ts'

const names: Record<Phase, string> = {
  queue: 'waiting',
  media: 'reading the files',
  encode: 'encoding pictures',
  prefill: 'prompt',
  generation: 'answer',
}

/** Where the time of an answer went, and how fast it came. */
export function Phases({ figures }: { figures: Figures }) {
  const { phases: ms, promptTokens, cachedTokens, imageTokens, outputTokens, cost } = figures
  const total = phases.reduce((sum, phase) => sum + ms[phase], 0)
  const speed = ms.generation > 0 && outputTokens > 1 ? (1000 * (outputTokens - 1)) / ms.generation : undefined
  const described = phases.map((phase) => `${names[phase]} ${duration(ms[phase])}`).join(', ')
  return (
    <details class="phases small dim figure">
      <summary>
        <span class="bar" role="img" aria-label={`Time: ${described}`}>
          {phases.map((phase) => (
            <span key={phase} class={`phase ${phase}`} style={{ flexGrow: total === 0 ? 0 : ms[phase] / total }} />
          ))}
        </span>
        <span>
          {duration(total)}
          {speed !== undefined && ` · ${speed >= 100 ? Math.round(speed) : speed.toFixed(1)} tokens/s`}
          {` · ${count(promptTokens)} + ${count(outputTokens)} tokens`}
          {cost > 0 && ` · costs ${costOf(cost)}`}
        </span>
      </summary>
      <dl>
        {phases.map((phase) => (
          <div key={phase}>
            <dt>
              <span class={`dot ${phase}`} />
              {names[phase]}
            </dt>
            <dd>{duration(ms[phase])}</dd>
          </div>
        ))}
        <div>
          <dt>first word after</dt>
          <dd>{duration(total - ms.generation)}</dd>
        </div>
        <div>
          <dt>prompt</dt>
          <dd>
            {count(promptTokens)} tokens, {count(imageTokens)} of pictures, {count(cachedTokens)} cached
          </dd>
        </div>
      </dl>
    </details>
  )
}

const costOf = (cost: number): string => cost.toLocaleString('en', { maximumSignificantDigits: 2 })
