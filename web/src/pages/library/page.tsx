import './library.css'
import { useSignal } from '@preact/signals'
import { useEffect, useId } from 'preact/hooks'
import { apiKey } from '../../server/client.ts'
import { actions, follow, listing, listingError, type Model } from '../../server/models.ts'
import { announce } from '../../ui/announce.tsx'
import { Failure } from '../../ui/failure.tsx'
import { bytes } from '../../ui/figures.ts'
import { Refused } from '../../ui/refused.tsx'
import {
  allFeatures,
  elsewhere,
  type Feature,
  features,
  fitting,
  here,
  isFiltered,
  largest,
  licence,
  licences,
  search,
  showAll,
  sizes,
  toggle,
} from './filters.ts'
import { ModelCard } from './model-card.tsx'
import { PictureSize, readTokens } from './picture.tsx'
import { Downloads } from './pull.tsx'

/** All models: those of this machine, and those that it can download. */
export default function Page() {
  const attempt = useSignal(0)
  useEffect(() => {
    const over = new AbortController()
    void follow(over.signal)
    return () => over.abort()
  }, [attempt.value, apiKey.value])
  const error = listingError.value
  const known = listing.value
  const present = known?.models
    .filter(({ state }) => state !== 'not_pulled')
    .map(({ id }) => id)
    .join()
  useEffect(() => {
    if (present !== undefined) void readTokens()
  }, [present])
  return (
    <div class="page library">
      <header>
        <h1>Models</h1>
        <p class="dim figure">
          {known === undefined
            ? '\u00a0'
            : `${bytes(known.memory.taken_bytes)} of ${bytes(known.memory.budget_bytes)} of memory in use`}
        </p>
      </header>
      {error === undefined ? null : <Refused error={error} again={() => attempt.value++} />}
      {known === undefined && error !== undefined ? null : (
        <>
          <Filters />
          <PictureSize />
          {known === undefined ? (
            <Waiting />
          ) : (
            <>
              <Section title="On this machine" models={here.value} none="No model here matches." />
              <Section title="To download" models={elsewhere.value} none="No model of the catalogue matches." />
              <Downloads />
              <OtherModel />
            </>
          )}
        </>
      )}
    </div>
  )
}

/** What is shown until the server has said which models there are, in the same place. */
const Waiting = () => (
  <section aria-busy="true" aria-label="Models">
    <h2 class="dim">Looking for models …</h2>
    <div class="models">
      {[0, 1, 2].map((place) => (
        <div key={place} class="model card waiting" />
      ))}
    </div>
  </section>
)

/** How many models a section shows at first. */
const few = 3

function Section({ title, models, none }: { title: string; models: readonly Model[]; none: string }) {
  const all = useSignal(false)
  const heading = useId()
  const shown = all.value || isFiltered.value ? models : models.slice(0, few)
  const hidden = models.length - shown.length
  return (
    <section aria-labelledby={heading}>
      <h2 id={heading}>
        {title} <span class="dim figure">{models.length}</span>
      </h2>
      {models.length === 0 ? (
        <p class="empty">
          {none}
          <button type="button" class="button" onClick={showAll}>
            Show all models
          </button>
        </p>
      ) : (
        <div class="models">
          {shown.map((model) => (
            <ModelCard key={model.id} model={model} />
          ))}
        </div>
      )}
      {hidden > 0 ? (
        <p class="more">
          <button
            type="button"
            class="button"
            onClick={() => {
              all.value = true
            }}
          >
            View {hidden} more
          </button>
        </p>
      ) : null}
    </section>
  )
}

function Filters() {
  const id = useId()
  return (
    <search class="filters">
      <div class="field">
        <label for={`${id}-search`}>Search</label>
        <input
          id={`${id}-search`}
          class="input"
          type="search"
          placeholder="A name, a maker, a family"
          value={search.value}
          onInput={(event) => {
            search.value = event.currentTarget.value
          }}
        />
      </div>
      <div class="field">
        <label for={`${id}-size`}>Size of its files</label>
        <select
          id={`${id}-size`}
          class="input"
          onChange={(event) => {
            largest.value = Number(event.currentTarget.value) || undefined
          }}
        >
          <option value="">any</option>
          {sizes.map((size) => (
            <option key={size} value={size} selected={largest.value === size}>
              up to {bytes(size)}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for={`${id}-licence`}>Licence</label>
        <select
          id={`${id}-licence`}
          class="input"
          onChange={(event) => {
            licence.value = event.currentTarget.value
          }}
        >
          <option value="">any</option>
          {licences.value.map((name) => (
            <option key={name} value={name} selected={licence.value === name}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <fieldset class="chips">
        <legend class="hidden-text">Only models that</legend>
        <Choice
          checked={fitting.value}
          onChange={() => {
            fitting.value = !fitting.value
          }}
        >
          Fits this machine
        </Choice>
        {(Object.keys(allFeatures) as Feature[]).map((feature) => (
          <Choice key={feature} checked={features.value.has(feature)} onChange={() => toggle(feature)}>
            {allFeatures[feature]}
          </Choice>
        ))}
      </fieldset>
    </search>
  )
}

const Choice = (props: { checked: boolean; onChange: () => void; children: string }) => (
  <label class="choice">
    <input type="checkbox" checked={props.checked} onChange={props.onChange} />
    {props.children}
  </label>
)

/** A model of the hub that is not in the catalogue. */
function OtherModel() {
  const name = useSignal('')
  const failure = useSignal('')
  const id = useId()
  const pull = async (event: Event): Promise<void> => {
    event.preventDefault()
    failure.value = ''
    try {
      await actions.pull(name.value.trim())
      announce('The download has begun.')
      name.value = ''
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  return (
    <form class="other card" onSubmit={(event) => void pull(event)}>
      <div class="field">
        <label for={id}>Another model of Hugging Face</label>
        <input
          id={id}
          class="input mono"
          placeholder="owner/name-GGUF:Q4_K_M"
          required
          value={name.value}
          onInput={(event) => {
            name.value = event.currentTarget.value
          }}
        />
      </div>
      <button type="submit" class="button">
        Download
      </button>
      <Failure text={failure.value} />
    </form>
  )
}
