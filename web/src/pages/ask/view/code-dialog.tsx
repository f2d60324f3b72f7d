import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { apiKey } from '../../../server/client.ts'
import { stored } from '../../../stored.ts'
import { CopyButton } from '../../../ui/copy.tsx'
import { Dialog } from '../../../ui/dialog.tsx'
import { type CodeOf, codeOf, languages, shortened } from '../state/code.ts'
import { current } from '../state/conversations.ts'
import { settingsProblem } from '../state/parameters.ts'

const language = stored('oriel.language', 'curl')

/** The request of a question, as code that runs as pasted. */
export function CodeDialog({ of, onClose }: { of: CodeOf; onClose: () => void }) {
  const code = useSignal('')
  const problem = useSignal('')
  const inlined = useSignal(true)
  const chosen = languages.find((one) => one === language.value) ?? 'curl'
  const hasPictures = [of.question, ...of.before.map(({ question }) => question)].some(
    ({ pictures }) => pictures.length > 0,
  )
  useEffect(() => {
    problem.value = settingsProblem(current.value.settings) ?? ''
    if (problem.value !== '') return
    codeOf({ ...of, conversation: current.value }, chosen, inlined.value).then(
      (written) => {
        code.value = written
      },
      (error: Error) => {
        problem.value = error.message
      },
    )
  }, [chosen, inlined.value])
  return (
    <Dialog title="The request as code" wide onClose={onClose}>
      <div class="code-head">
        <fieldset class="choices">
          <legend class="hidden-text">Language</legend>
          {languages.map((one) => (
            <label key={one}>
              <input
                type="radio"
                name="language"
                checked={one === chosen}
                onChange={() => {
                  language.value = one
                }}
              />
              {one}
            </label>
          ))}
        </fieldset>
        {hasPictures && (
          <label class="check small">
            <input
              type="checkbox"
              checked={!inlined.value}
              onChange={(event) => {
                inlined.value = !event.currentTarget.checked
              }}
            />
            Read the pictures from files
          </label>
        )}
        <CopyButton text={() => code.value} what="the code" />
      </div>
      {problem.value === '' ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also with the keyboard
        <pre class="source" tabIndex={0}>
          <code>{shortened(code.value)}</code>
        </pre>
      ) : (
        <p class="note bad">{problem.value}</p>
      )}
      <p class="small dim">
        {hasPictures && inlined.value && 'What is copied has the whole pictures in it. '}
        {chosen !== 'curl' && `It needs the package openai. `}
        {apiKey.value !== '' && 'The key is read from ORIEL_API_KEY.'}
      </p>
    </Dialog>
  )
}
