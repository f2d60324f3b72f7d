import { useSignal } from '@preact/signals'
import { actions, type Model, pulls, readListing } from '../../server/models.ts'
import { announce } from '../../ui/announce.tsx'
import { Fact } from '../../ui/facts.tsx'
import { Failure } from '../../ui/failure.tsx'
import { amount, bytes, count, duration } from '../../ui/figures.ts'
import { Icon } from '../../ui/icon.tsx'
import { Progress } from '../../ui/progress.tsx'
import { imageTokens } from './picture.tsx'
import { isOf, PullProgress } from './pull.tsx'
import { Removal } from './removal.tsx'

const states: Record<Model['state'], { text: string; tone: string }> = {
  loaded: { text: 'In memory', tone: 'good' },
  loading: { text: 'Loading', tone: 'warn' },
  available: { text: 'On this machine', tone: '' },
  failed: { text: 'Cannot be loaded', tone: 'bad' },
  not_pulled: { text: 'Not downloaded', tone: '' },
}

const elsewhere: typeof states = {
  ...states,
  loaded: { text: 'Elsewhere', tone: 'good' },
  failed: { text: 'No upstream answers', tone: 'bad' },
}

export function ModelCard({ model }: { model: Model }) {
  const failure = useSignal('')
  const removing = useSignal(false)
  const attempt = (work: () => Promise<unknown>, said: string) => async (): Promise<void> => {
    failure.value = ''
    try {
      await work()
      announce(said)
      await readListing()
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  const pull = pulls.value.find((one) => isOf(one, model))
  const running = pull?.state === 'running' ? pull : undefined
  const isHere = model.upstreams.length === 0
  const { text, tone } = (isHere ? states : elsewhere)[model.state]
  return (
    <article class="model card" aria-labelledby={`model-${model.id}`}>
      <header>
        <div>
          <h3 id={`model-${model.id}`}>{model.title}</h3>
          <p class="mono dim">{model.id}</p>
        </div>
        <span class={`chip ${tone}`}>
          {text}
          {model.running > 0 ? `, ${count(model.running)} running` : ''}
        </span>
      </header>
      {model.description === '' ? null : <p class="description">{model.description}</p>}
      <Facts model={model} />
      {model.error === null ? null : <p class="note bad">{model.error}</p>}
      {model.state === 'loading' ? <Progress label="Loading" share={model.progress ?? 0} text="" /> : null}
      {running === undefined ? null : <PullProgress pull={running} />}
      {pull?.state === 'failed' && model.state === 'not_pulled' ? (
        <p class="note bad">{pull.error?.message ?? 'The download failed.'}</p>
      ) : null}
      <Failure text={failure.value} />
      <footer>
        {running === undefined ? null : (
          <button type="button" class="button" onClick={attempt(() => actions.cancel(running.id), 'Cancelled.')}>
            Cancel
          </button>
        )}
        {model.state === 'not_pulled' && running === undefined ? (
          <button
            type="button"
            class="button primary"
            onClick={attempt(() => actions.pull(model.id), `The download of ${model.title} has begun.`)}
          >
            <Icon name="download" />
            Download {bytes(model.bytes)}
          </button>
        ) : null}
        {model.state === 'loaded' || model.state === 'available' ? (
          <a class="button primary" href={`/?model=${encodeURIComponent(model.id)}`} data-page>
            Ask it
          </a>
        ) : null}
        {isHere && (model.state === 'available' || model.state === 'failed') ? (
          <button type="button" class="button" onClick={attempt(() => actions.load(model.id), 'Loading.')}>
            Load
          </button>
        ) : null}
        {isHere && (model.state === 'loaded' || model.state === 'loading') ? (
          <button type="button" class="button" onClick={attempt(() => actions.unload(model.id), 'Unloaded.')}>
            Unload
          </button>
        ) : null}
        {model.removable ? (
          <button
            type="button"
            class="button quiet"
            onClick={() => {
              removing.value = true
            }}
          >
            Remove
          </button>
        ) : null}
      </footer>
      {removing.value ? (
        <Removal
          model={model}
          onClose={() => {
            removing.value = false
          }}
        />
      ) : null}
    </article>
  )
}

/** What a person weighs before a download: size, memory, speed, cost. */
function Facts({ model }: { model: Model }) {
  const tokens = imageTokens.value.get(model.id)
  const { parameters, quantization, memory_bytes: memory, image_ms: imageMs, prices } = model
  const kind = [parameters === null ? [] : parametersText(parameters), quantization ?? []].flat().join(', ')
  return (
    <dl class="facts">
      <Fact name="Size">
        {model.bytes === 0 ? '—' : bytes(model.bytes)} <span class="small dim">{kind}</span>
      </Fact>
      <Fact name="Context">{model.context_tokens === 0 ? '—' : `${count(model.context_tokens)} tokens`}</Fact>
      <Fact name="Memory">
        {memory === null ? '—' : bytes(memory)}{' '}
        {model.fits === null ? null : (
          <span class={model.fits ? 'good-text' : 'bad-text'}>{model.fits ? 'fits' : 'does not fit'}</span>
        )}
      </Fact>
      <Fact name="Image tokens">
        {tokens === undefined
          ? '—'
          : tokens.low.tokens === tokens.high.tokens
            ? count(tokens.auto.tokens)
            : `${count(tokens.low.tokens)} low, ${count(tokens.high.tokens)} high`}
      </Fact>
      <Fact name="First word about it">{imageMs === null ? '—' : `about ${duration(imageMs)}`}</Fact>
      <Fact name="Price per million">
        {prices.input === 0 && prices.output === 0
          ? 'free'
          : `${amount(prices.input)} in, ${amount(prices.output)} out`}
      </Fact>
      <Fact name="Licence">{model.licence ?? '—'}</Fact>
      <Fact name="Vision">
        {model.vision === null ? (model.inputs.includes('image') ? 'yes' : '—') : model.vision.family}
      </Fact>
    </dl>
  )
}

const parametersText = (parameters: number): string =>
  parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} B` : `${Math.round(parameters / 1e6)} M`
