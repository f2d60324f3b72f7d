import { useSignal } from '@preact/signals'
import { useEffect, useId, useRef } from 'preact/hooks'
import { blobToDataUrl } from '../../data-url.ts'
import { fetchWithKey, ServerError } from '../../server/client.ts'
import type { Endpoint } from '../../server/openapi.ts'
import { Icon } from '../../ui/icon.tsx'
import { exampleOf, sample } from './examples.ts'

/** A form that sends a request, and shows the answer as it arrives. */
export function TryIt({ endpoint, model }: { endpoint: Endpoint; model: string }) {
  const { method, path, bases } = endpoint
  const id = useId()
  const base = useSignal(bases[0]?.url ?? '')
  const place = useSignal(placeFor(path, model))
  const picture = useSignal(sample)
  const body = useSignal(bodyFor(path, model, sample))
  const shown = useRef(model)
  const answer = useSignal('')
  const running = useSignal<AbortController | undefined>(undefined)
  const file = useRef<HTMLInputElement>(null)
  // The server says which models it has when a person may have begun to write: what they wrote stays.
  useEffect(() => {
    const before = shown.current
    shown.current = model
    if (place.value === placeFor(path, before)) place.value = placeFor(path, model)
    if (body.value === bodyFor(path, before, picture.value)) body.value = bodyFor(path, model, picture.value)
  }, [model])
  useEffect(() => () => running.value?.abort(), [])
  const choose = async (chosen: File | undefined): Promise<void> => {
    if (chosen === undefined || chosen.size === 0) return
    const before = picture.value
    picture.value = await blobToDataUrl(chosen)
    // What the person wrote around the picture stays.
    body.value = body.value
      .replaceAll(before, picture.value)
      .replaceAll(before.split(',')[1] ?? before, picture.value.split(',')[1] ?? '')
  }
  const run = async (): Promise<void> => {
    const over = new AbortController()
    running.value = over
    answer.value = ''
    try {
      const url = (base.value.replace(/\/$/, '') || '') + place.value
      const hasBody = method !== 'GET' && body.value !== ''
      const content = hasBody ? { headers: { 'content-type': 'application/json' }, body: body.value } : {}
      const response = await fetchWithKey(url, { method, signal: over.signal, ...content })
      answer.value = `${response.status}\n`
      if (response.headers.get('content-type')?.startsWith('application/json'))
        answer.value += JSON.stringify(await response.json(), null, 2)
      else if (response.body !== null) {
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
        for (let part = await reader.read(); !part.done; part = await reader.read()) answer.value += part.value
      }
    } catch (error) {
      if (running.value !== over) return
      if (over.signal.aborted) answer.value += '(stopped)'
      else answer.value += error instanceof ServerError ? error.message : `The server cannot be reached. (${error})`
    }
    if (running.value === over) running.value = undefined
  }
  return (
    <form
      class="try card"
      onSubmit={(event) => {
        event.preventDefault()
        if (running.value === undefined) void run()
      }}
    >
      <div class="try-line">
        <label class="hidden-text" for={`${id}-base`}>
          Base
        </label>
        <select
          id={`${id}-base`}
          class="input mono"
          onChange={(event) => {
            base.value = event.currentTarget.value
          }}
        >
          {bases.map(({ url, description }) => (
            <option key={url} value={url} selected={url === base.value} title={description}>
              {url}
            </option>
          ))}
        </select>
        <label class="hidden-text" for={`${id}-path`}>
          Path
        </label>
        <input
          id={`${id}-path`}
          class="input mono"
          value={place.value}
          onInput={(event) => {
            place.value = event.currentTarget.value
          }}
        />
      </div>
      {method === 'GET' ? null : (
        <>
          <label class="hidden-text" for={`${id}-body`}>
            Body
          </label>
          <textarea
            id={`${id}-body`}
            class="input mono"
            rows={10}
            spellcheck={false}
            value={shorten(body.value, picture.value)}
            onInput={(event) => {
              body.value = lengthen(event.currentTarget.value, picture.value)
            }}
          />
        </>
      )}
      <div class="try-actions">
        <button type="submit" class="button primary" disabled={running.value !== undefined}>
          Send
        </button>
        {running.value === undefined ? null : (
          <button type="button" class="button" onClick={() => running.value?.abort()}>
            Stop
          </button>
        )}
        {bodyFor(path, model, sample).includes('iVBOR') ? (
          <>
            <button type="button" class="button" onClick={() => file.current?.click()}>
              <Icon name="image" />
              Use my picture
            </button>
            <input
              ref={file}
              class="hidden-text"
              type="file"
              accept="image/*,application/pdf"
              tabIndex={-1}
              aria-label="The picture of the request"
              onChange={(event) => {
                void choose(event.currentTarget.files?.[0])
                event.currentTarget.value = ''
              }}
            />
          </>
        ) : null}
      </div>
      {answer.value === '' ? null : (
        <pre class="answer" aria-label="The answer" role="log">
          {answer.value}
        </pre>
      )}
    </form>
  )
}

const placeFor = (path: string, model: string): string => path.replace('{model}', model)

/** The example for a path, as JSON; empty: there is none. */
function bodyFor(path: string, model: string, picture: string): string {
  const example = exampleOf(path, model, picture)
  return example === undefined ? '' : JSON.stringify(example, null, 2)
}

/** What stands for the bytes of the picture, which nobody reads. */
const bytesOfPicture = '…the bytes of the picture…'

const base64Of = (picture: string): string => picture.split(',')[1] ?? picture
const shorten = (text: string, picture: string): string => text.replaceAll(base64Of(picture), bytesOfPicture)
const lengthen = (text: string, picture: string): string => text.replaceAll(bytesOfPicture, base64Of(picture))
