import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { apiKey } from '../../../server/client.ts'
import { stored } from '../../../stored.ts'
import { CopyButton } from '../../../ui/copy.tsx'
import { Dialog } from '../../../ui/dialog.tsx'
import { type CodeOf, codeOf, languages, shortened } from '../state/code.ts'
import { current } from '../state/conversations.ts'
import { Choices } from './choices.tsx'

const language = stored('oriel.language', 'curl')

/** The request of a question, as code that runs as pasted. */
export function CodeDialog({ of, onClose }: { of: CodeOf; onClose: () => void }) {
  const code = useSignal('')
  // While other code is written the last stays in sight, so that nothing jumps, but is not copied.
  const isWritten = useSignal(false)
  const problem = useSignal('')
  const inlined = useSignal(true)
  const chosen = languages.find((one) => one === language.value) ?? 'curl'
  const hasPictures = [of.question, ...of.before.map(({ question }) => question)].some(
    ({ pictures }) => pictures.length > 0,
  )
  useEffect(() => {
    let gone = false
    isWritten.value = false
    codeOf({ ...of, conversation: current.value }, chosen, inlined.value).then(
      (written) => {
        if (gone) return
        code.value = written
        isWritten.value = true
      },
      (error: Error) => {
        if (!gone) problem.value = error.message
      },
    )
    return () => {
      gone = true
    }
  }, [chosen, inlined.value])
  return (
    <Dialog title="The request as code" wide onClose={onClose}>
      <div class="code-head">
        <Choices
          legend="Language"
          name="language"
          all={languages}
          chosen={chosen}
          onChoose={(one) => {
            language.value = one
          }}
        />
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
        <CopyButton text={isWritten.value ? code.value : ''} what="the code" />
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
