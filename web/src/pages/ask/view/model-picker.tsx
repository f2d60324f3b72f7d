import { count } from '../../../ui/figures.ts'
import { Icon } from '../../../ui/icon.tsx'
import { Menu, MenuItem } from '../../../ui/menu.tsx'
import { current, updateCurrent } from '../state/conversations.ts'
import { loadModels, type Model, modelOf, models, nameOf } from '../state/models.ts'

/** The model that answers, or the two that answer side by side. */
export function ModelPickers() {
  const chosen = current.value.models
  const change = (changed: readonly string[]): void => updateCurrent((before) => ({ ...before, models: changed }))
  return (
    <div class="pickers">
      {chosen.length === 0 && <Picker label="Model" chosen="" onChoose={(id) => change([id])} />}
      {chosen.map((id, index) => (
        <Picker
          key={index}
          label={chosen.length === 1 ? 'Model' : `Model ${index + 1}`}
          chosen={id}
          onChoose={(other) => change(chosen.map((one, at) => (at === index ? other : one)))}
        />
      ))}
      {chosen.length === 1 && (
        <button
          type="button"
          class="button quiet icon"
          aria-label="Ask a second model side by side"
          title="Ask a second model side by side"
          onClick={() => change([...chosen, models.value?.find(({ id }) => id !== chosen[0])?.id ?? chosen[0] ?? ''])}
        >
          <Icon name="columns" />
        </button>
      )}
      {chosen.length === 2 && (
        <button
          type="button"
          class="button quiet icon"
          aria-label="Ask the first model only"
          title="Ask the first model only"
          onClick={() => change(chosen.slice(0, 1))}
        >
          <Icon name="close" />
        </button>
      )}
    </div>
  )
}

function Picker({ label, chosen, onChoose }: { label: string; chosen: string; onChoose: (id: string) => void }) {
  const model = modelOf(chosen)
  const name = chosen === '' ? 'Choose a model' : nameOf(chosen)
  const isGone = chosen !== '' && models.value !== undefined && model === undefined
  const state = model === undefined ? (isGone ? 'not here now' : undefined) : states[model.state]
  return (
    <Menu
      label={`${label}: ${name}${state === undefined ? '' : `, ${state}`}`}
      buttonClass="button picker"
      onOpen={() => void loadModels()}
      button={
        <>
          <span class={`state ${model?.state ?? 'gone'}`} />
          <span class="name">{name}</span>
          <Icon name="down" />
        </>
      }
    >
      {models.value?.map((one) => (
        <MenuItem key={one.id} checked={one.id === chosen} onChoose={() => onChoose(one.id)}>
          <span class={`state ${one.state}`} />
          <span class="model">
            <span>{nameOf(one.id)}</span>
            <span class="small dim figure">{aboutOf(one)}</span>
          </span>
          {one.id === chosen && <Icon name="check" />}
        </MenuItem>
      ))}
      <a class="menu-item" role="menuitem" tabIndex={-1} href="/library" data-page>
        <Icon name="models" />
        More models…
      </a>
    </Menu>
  )
}

const states: Record<Model['state'], string> = {
  loaded: 'loaded',
  loading: 'being loaded',
  available: 'loaded when it is asked',
  failed: 'cannot be loaded',
  not_pulled: 'not here yet',
}

function aboutOf({ state, progress, context_length, supports_image_input }: Model): string {
  const loading = state === 'loading' && progress !== undefined ? ` (${Math.round(progress * 100)} %)` : ''
  const context = context_length === undefined ? '' : ` · ${count(context_length)} tokens`
  return `${states[state]}${loading}${context}${supports_image_input === true ? '' : ' · reads text only'}`
}
