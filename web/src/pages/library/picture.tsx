import { signal, useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { type TokensOfImage, tokensOf } from '../../server/models.ts'
import { Icon } from '../../ui/icon.tsx'

/** The picture whose tokens the models show. */
const picture = signal({ name: 'a picture', width: 1280, height: 720 })
/** By the id of a model. */
export const imageTokens = signal<ReadonlyMap<string, TokensOfImage>>(new Map())

export async function readTokens(): Promise<void> {
  const { width, height } = picture.value
  const { models } = await tokensOf(width, height).catch(() => ({ models: [] }))
  imageTokens.value = new Map(models.map((one) => [one.id, one]))
}

async function measure(file: File): Promise<void> {
  const { width, height } = await createImageBitmap(file)
  picture.value = { name: file.name, width, height }
  await readTokens()
}

/** Takes a picture, by drop or by choice, and says which one the figures are for. The picture stays in the browser. */
export function PictureSize() {
  const input = useRef<HTMLInputElement>(null)
  const failed = useSignal(false)
  const over = useSignal(false)
  const take = (file: File | undefined): void => {
    if (file === undefined) return
    failed.value = false
    measure(file).catch(() => {
      failed.value = true
    })
  }
  useEffect(() => {
    const allow = (event: DragEvent): void => {
      event.preventDefault()
      over.value = event.type === 'dragover'
    }
    const drop = (event: DragEvent): void => {
      allow(event)
      take(event.dataTransfer?.files[0])
    }
    addEventListener('dragover', allow)
    addEventListener('dragleave', allow)
    addEventListener('drop', drop)
    return () => {
      removeEventListener('dragover', allow)
      removeEventListener('dragleave', allow)
      removeEventListener('drop', drop)
    }
  }, [])
  const { name, width, height } = picture.value
  return (
    <div class={over.value ? 'picture-size over' : 'picture-size'}>
      <Icon name="image" />
      <p>
        Image tokens are for <strong>{name}</strong>{' '}
        <span class="figure">
          ({width} × {height})
        </span>
        . {failed.value ? <span class="bad-text">That file is no picture that this browser reads.</span> : null}
      </p>
      <button type="button" class="button" onClick={() => input.current?.click()}>
        Use my picture
      </button>
      <input
        ref={input}
        class="hidden-text"
        type="file"
        accept="image/*"
        tabIndex={-1}
        aria-label="A picture whose tokens are counted"
        onChange={(event) => take(event.currentTarget.files?.[0])}
      />
    </div>
  )
}
