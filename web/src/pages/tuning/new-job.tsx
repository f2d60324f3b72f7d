import { useSignal } from '@preact/signals'
import { useEffect, useId } from 'preact/hooks'
import { get } from '../../server/client.ts'
import { type Dataset, type NewJob, readTuning, shortOf, tuningActions } from '../../server/tuning.ts'
import { announce } from '../../ui/announce.tsx'
import { count } from '../../ui/figures.ts'
import { FormDialog } from '../../ui/form-dialog.tsx'

/** A model of `GET /v1/models`, as far as this form uses it. */
interface Listed {
  readonly id: string
  readonly parent?: string | null
  readonly supports_chat?: boolean
  readonly state: string
}

interface NewJobProps {
  /** Those that can be learned from. */
  datasets: readonly Dataset[]
  onClose: () => void
}

/** Asks what is to be learned by which model, and begins. */
export function NewJobDialog({ datasets, onClose }: NewJobProps) {
  const id = useId()
  const models = useSignal<readonly Listed[]>([])
  useEffect(() => {
    get<{ data: readonly Listed[] }>('/v1/models').then(
      ({ data }) => {
        models.value = data.filter((model) => model.supports_chat !== false && model.state !== 'not_pulled')
      },
      () => {},
    )
  }, [])
  const begin = async (form: FormData): Promise<void> => {
    const { outputModel } = await tuningActions.create(jobOf(form))
    announce(`The job of ${shortOf(outputModel)} has begun.`)
    await readTuning()
    onClose()
  }
  const isAdapter = ({ parent }: Listed): boolean => typeof parent === 'string'
  const adapters = models.value.filter(isAdapter)
  return (
    <FormDialog
      title="New job"
      action="Begin"
      isDisabled={datasets.length === 0 || models.value.length === 0}
      onSubmit={begin}
      onClose={onClose}
    >
      <div class="field">
        <label for={`${id}-dataset`}>Learns from</label>
        <select id={`${id}-dataset`} class="input" name="dataset" required>
          {datasets.map(({ name, report }) => (
            <option key={name} value={name}>
              {shortOf(name)} ({count(report?.examples ?? 0)} examples)
            </option>
          ))}
        </select>
        {datasets.length === 0 ? <span class="hint">There is no dataset yet that can be used.</span> : null}
      </div>
      <div class="field">
        <label for={`${id}-base`}>Model</label>
        <select id={`${id}-base`} class="input" name="base" required>
          {models.value
            .filter((model) => !isAdapter(model))
            .map((model) => (
              <option key={model.id} value={`model ${model.id}`}>
                {model.id}
              </option>
            ))}
          {adapters.length === 0 ? null : (
            <optgroup label="Go on from an adapter">
              {adapters.map((model) => (
                <option key={model.id} value={`adapter ${model.id}`}>
                  {model.id}
                </option>
              ))}
            </optgroup>
          )}
        </select>
      </div>
      <div class="field">
        <label for={`${id}-name`}>Name of the adapter</label>
        <input
          id={`${id}-name`}
          class="input"
          name="name"
          pattern="[a-z0-9][a-z0-9\-]{0,62}"
          title="Small letters, digits and - alone"
          placeholder="a random one"
          autocomplete="off"
          aria-describedby={`${id}-name-hint`}
        />
        <span id={`${id}-name-hint`} class="hint">
          Requests use it as their model.
        </span>
      </div>
      <details class="how">
        <summary>How it is trained</summary>
        <div class="two">
          <Figure id={`${id}-epochs`} name="epochs" label="Epochs" min="0.1" max="1000" />
          <Figure id={`${id}-rate`} name="rate" label="Learning rate" min="0" max="1" />
          <Figure id={`${id}-rank`} name="rank" label="Rank" min="4" max="64" step="1" />
          <Figure id={`${id}-tokens`} name="tokens" label="Tokens of an example" min="1" step="1" />
        </div>
        <label class="check">
          <input type="checkbox" name="projector" /> Train the projector, too: what the model makes of what it sees
        </label>
        <label class="check">
          <input type="checkbox" name="early" /> End early when the evaluation loss falls no more
        </label>
      </details>
    </FormDialog>
  )
}

interface FigureProps {
  id: string
  name: string
  label: string
  min: string
  max?: string
  step?: string
}

const Figure = ({ id, name, label, min, max, step = 'any' }: FigureProps) => (
  <div class="field">
    <label for={id}>{label}</label>
    <input id={id} class="input" name={name} type="number" min={min} max={max ?? ''} step={step} placeholder="usual" />
  </div>
)

function jobOf(form: FormData): NewJob {
  const text = (name: string): string => String(form.get(name) ?? '').trim()
  const figure = <Name extends string>(field: string, name: Name): Partial<Record<Name, number>> =>
    text(field) === '' ? {} : ({ [name]: Number(text(field)) } as Record<Name, number>)
  const base = text('base')
  const named = base.slice(base.indexOf(' ') + 1)
  return {
    dataset: text('dataset'),
    ...(base.startsWith('adapter ') ? { warmStartFrom: named } : { baseModel: named }),
    ...(text('name') === '' ? {} : { outputModel: text('name') }),
    ...figure('epochs', 'epochs'),
    ...figure('rate', 'learningRate'),
    ...figure('rank', 'loraRank'),
    ...figure('tokens', 'maxContextLength'),
    earlyStop: form.get('early') !== null,
    trainProjector: form.get('projector') !== null,
  }
}
