import { useSignal } from '@preact/signals'
import { actions, type Model, type Pull, pulls, readListing } from '../../server/models.ts'
import { announce } from '../../ui/announce.tsx'
import { bytes, count, duration } from '../../ui/figures.ts'
import { Icon } from '../../ui/icon.tsx'
import { imageTokens } from './picture.tsx'
import { Removal } from './removal.tsx'

const states: Record<Model['state'], { text: string; tone: string }> = {
  loaded: { text: 'In memory', tone: 'good' },
  loading: { text: 'Loading', tone: 'warn' },
  available: { text: 'On this machine', tone: '' },
  failed: { text: 'Cannot be loaded', tone: 'bad' },
  not_pulled: { text: 'Not downloaded', tone: '' },
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
  const { text, tone } = states[model.state]
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
      {failure.value === '' ? null : (
        <p class="note bad" role="alert">
          {failure.value}
        </p>
      )}
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
        {model.state === 'available' || model.state === 'failed' ? (
          <button type="button" class="button" onClick={attempt(() => actions.load(model.id), 'Loading.')}>
            Load
          </button>
        ) : null}
        {model.state === 'loaded' || model.state === 'loading' ? (
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

const isOf = (pull: Pull, { id, aliases, pull: own }: Model): boolean =>
  pull.id === own?.id || [pull.model, pull.served_as].some((name) => name === id || aliases.includes(name ?? ''))

/** What a person weighs before a download: size, memory, speed, cost. */
function Facts({ model }: { model: Model }) {
  const tokens = imageTokens.value.get(model.id)
  const { parameters, quantization, memory_bytes: memory, image_ms: imageMs, prices } = model
  const size = [
    parameters === null ? [] : `${parametersText(parameters)}`,
    quantization ?? [],
    bytes(model.bytes),
  ].flat()
  return (
    <dl class="facts">
      <Fact name="Size">{size.join(' · ')}</Fact>
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
      <Fact name="Price, in and out">
        {prices.input === 0 && prices.output === 0 ? 'free' : `${prices.input} and ${prices.output} a million`}
      </Fact>
      <Fact name="Licence">{model.licence ?? '—'}</Fact>
      <Fact name="Vision">
        {model.vision === null ? (model.inputs.includes('image') ? 'yes' : '—') : model.vision.family}
      </Fact>
    </dl>
  )
}

const Fact = ({ name, children }: { name: string; children: preact.ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd class="figure">{children}</dd>
  </div>
)

const parametersText = (parameters: number): string =>
  parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} B` : `${Math.round(parameters / 1e6)} M`

const steps: Record<NonNullable<Pull['step']>, string> = {
  asking: 'Asking for its files',
  downloading: 'Downloading',
  checking: 'Checking',
  waiting: 'Waiting for another download of it',
  retrying: 'Trying again',
}

function PullProgress({ pull }: { pull: Pull }) {
  const share = pull.total_bytes === 0 ? 0 : pull.done_bytes / pull.total_bytes
  const speed = pull.bytes_per_second === null ? [] : `${bytes(pull.bytes_per_second)}/s`
  const left = pull.seconds_left === null ? [] : `${duration(pull.seconds_left * 1000)} left`
  const size = pull.total_bytes === 0 ? [] : `${bytes(pull.done_bytes)} of ${bytes(pull.total_bytes)}`
  const step = pull.step === null ? 'Downloading' : steps[pull.step]
  return <Progress label={step} share={share} text={[size, speed, left, pull.note ?? []].flat().join(' · ')} />
}

const Progress = ({ label, share, text }: { label: string; share: number; text: string }) => (
  <div class="pull">
    <div
      class="progress"
      role="progressbar"
      aria-label={label}
      aria-valuenow={Math.round(share * 100)}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div style={{ width: `${share * 100}%` }} />
    </div>
    <p class="small dim figure">
      {label} {Math.round(share * 100)} %{text === '' ? '' : ` · ${text}`}
    </p>
  </div>
)
