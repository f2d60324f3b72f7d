import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'
import { KeyField } from '../../../ui/refused.tsx'
import type { Settings as SettingsOf } from '../state/conversation.ts'
import { details, noSettings } from '../state/conversation.ts'
import { current, updateCurrent } from '../state/conversations.ts'
import { loadModels } from '../state/models.ts'
import { parameters, problemOf, schemaProblem, toolsProblem } from '../state/parameters.ts'
import { Choices } from './choices.tsx'

const change = (changed: Partial<SettingsOf>): void =>
  updateCurrent((before) => ({ ...before, settings: { ...before.settings, ...changed } }))

/** What is sent with each question of this conversation. */
export function Settings() {
  const { settings } = current.value
  const setParameter = (name: string, typed: string): void =>
    change({ parameters: { ...settings.parameters, [name]: typed } })
  return (
    <div class="settings">
      <label class="field">
        <span>System prompt</span>
        <textarea
          class="input"
          rows={3}
          placeholder="What the model should know before it answers"
          value={settings.system}
          onInput={(event) => change({ system: event.currentTarget.value })}
        />
      </label>
      <div class="field">
        <span aria-hidden="true">Detail of pictures</span>
        <Choices
          legend="Detail of pictures"
          name="detail"
          all={details}
          chosen={settings.detail}
          onChoose={(detail) => change({ detail })}
        />
      </div>
      <div class="numbers">
        {parameters.map((parameter) => {
          const typed = settings.parameters[parameter.name] ?? ''
          return (
            <Typed
              key={parameter.name}
              label={parameter.label}
              hint={parameter.hint}
              problem={problemOf(parameter, typed)}
            >
              {(about) => (
                <input
                  {...about}
                  class="input figure"
                  inputMode={parameter.least < 0 ? 'text' : parameter.whole ? 'numeric' : 'decimal'}
                  autocomplete="off"
                  placeholder="default"
                  value={typed}
                  onInput={(event) => setParameter(parameter.name, event.currentTarget.value)}
                />
              )}
            </Typed>
          )
        })}
        <label class="field">
          <span>Thinking</span>
          <select
            class="input"
            value={settings.parameters.enable_thinking ?? ''}
            onChange={(event) => setParameter('enable_thinking', event.currentTarget.value)}
          >
            <option value="">default</option>
            <option value="true">on</option>
            <option value="false">off</option>
          </select>
        </label>
      </div>
      <Json
        label="JSON Schema of the answer"
        hint="The answer is JSON that fits it."
        problem={schemaProblem(settings.schema)}
        example={'{"type": "object", "properties": {…}}'}
        typed={settings.schema}
        onType={(schema) => change({ schema })}
      />
      <Json
        label="Tools"
        hint="The next message is the result of a call."
        problem={toolsProblem(settings.tools)}
        example={'[{"type": "function", "function": {"name": "…", "parameters": {…}}}]'}
        typed={settings.tools}
        onType={(tools) => change({ tools })}
      />
      <button type="button" class="button" onClick={() => change(noSettings)}>
        Back to the defaults
      </button>
      <hr />
      <KeyField again={() => void loadModels()} />
    </div>
  )
}

interface JsonProps extends About {
  example: string
  typed: string
  onType: (typed: string) => void
}

const Json = ({ example, typed, onType, ...about }: JsonProps) => (
  <Typed {...about}>
    {(of) => (
      <textarea
        {...of}
        class="input mono"
        rows={4}
        spellcheck={false}
        placeholder={example}
        value={typed}
        onInput={(event) => onType(event.currentTarget.value)}
      />
    )}
  </Typed>
)

interface About {
  label: string
  hint: string
  problem: string | undefined
}

interface TypedProps extends About {
  children: (about: { id: string; 'aria-invalid': boolean; 'aria-describedby': string }) => ComponentChildren
}

/** A field with what is wrong with it. */
function Typed({ label, hint, problem, children }: TypedProps) {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, 'aria-invalid': problem !== undefined, 'aria-describedby': `${id}-about` })}
      <span id={`${id}-about`} class={problem === undefined ? 'hint small' : 'wrong small'}>
        {problem ?? hint}
      </span>
    </div>
  )
}
