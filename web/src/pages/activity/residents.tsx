import { type Resident, snapshot } from '../../server/activity.ts'
import { bytes, count } from '../../ui/figures.ts'

const engines: Record<NonNullable<Resident['engine']>, { text: string; tone: string }> = {
  ok: { text: 'Answers', tone: 'good' },
  unknown: { text: 'Starts', tone: '' },
  restarting: { text: 'Restarts', tone: 'bad' },
  not_answering: { text: 'Does not answer', tone: 'bad' },
}

/** The models in memory, with their KV cells, and the memory of the machine. */
export function Residents() {
  const { models = [], memory } = snapshot.value ?? {}
  return (
    <section aria-labelledby="memory">
      <h2 id="memory">In memory</h2>
      <div class="residents">
        {memory === undefined ? null : (
          <article class="resident card">
            <h3>Memory for models</h3>
            <Bar
              label="Memory for models"
              parts={[{ share: memory.taken_bytes / memory.budget_bytes, colour: '--accent' }]}
              text={`${bytes(memory.taken_bytes)} of ${bytes(memory.budget_bytes)}`}
            />
            <p class="small dim figure">
              The server itself takes {bytes(memory.server_bytes)}. {bytes(memory.free_bytes)} of the machine are free.
            </p>
          </article>
        )}
        {models.map((model) => (
          <ResidentCard key={model.id} model={model} />
        ))}
      </div>
    </section>
  )
}

function ResidentCard({ model }: { model: Resident }) {
  const { kv, engine, sequences, waiting } = model
  const state = engine === null ? { text: 'In memory', tone: '' } : engines[engine]
  return (
    <article class="resident card">
      <header>
        <h3>{model.id}</h3>
        <span class={`chip ${state.tone}`}>
          {model.state === 'loading' ? `Loading ${Math.round((model.progress ?? 0) * 100)} %` : state.text}
        </span>
      </header>
      {kv === null || kv.cells === 0 ? null : (
        <Bar
          label="KV cache"
          parts={[
            { share: kv.running_cells / kv.cells, colour: '--accent' },
            { share: kv.stored_cells / kv.cells, colour: '--phase-prefill' },
          ]}
          text={`KV cache: ${count(kv.running_cells)} in use, ${count(kv.stored_cells)} kept, ${count(kv.free_cells)} free`}
        />
      )}
      <p class="small dim figure">
        {[
          bytes(model.memory_bytes),
          sequences === null ? [] : `${count(sequences)} running`,
          waiting === null ? [] : `${count(waiting)} waiting`,
          model.image_cache_bytes === null ? [] : `${bytes(model.image_cache_bytes)} of embeddings`,
          model.shelved_bytes ? `${bytes(model.shelved_bytes)} on the shelf` : [],
        ]
          .flat()
          .join(' · ')}
      </p>
    </article>
  )
}

interface BarProps {
  label: string
  parts: readonly { share: number; colour: string }[]
  text: string
}

const Bar = ({ label, parts, text }: BarProps) => (
  <div class="meter-bar">
    <div class="bar" role="img" aria-label={`${label}: ${text}`}>
      {parts.map(({ share, colour }) => (
        <span key={colour} style={{ width: `${Math.min(1, share) * 100}%`, background: `var(${colour})` }} />
      ))}
    </div>
    <p class="small figure">{text}</p>
  </div>
)
