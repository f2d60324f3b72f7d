import { signal, useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { type TokensOfImage, tokensOf } from '../../server/models.ts'
import { useDroppedFiles } from '../../ui/drop.ts'
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
  const image = await createImageBitmap(file)
  picture.value = { name: file.name, width: image.width, height: image.height }
  image.close()
  await readTokens()
}

/** Takes a picture, by drop or by choice, and says which one the figures are for. The picture stays in the browser. */
export function PictureSize() {
  const input = useRef<HTMLInputElement>(null)
  const failed = useSignal(false)
  const take = (file: File | undefined): void => {
    if (file === undefined) return
    failed.value = false
    measure(file).catch(() => {
      failed.value = true
    })
  }
  const isOver = useDroppedFiles(([file]) => take(file))
  const { name, width, height } = picture.value
  return (
    <div class={isOver ? 'picture-size over' : 'picture-size'}>
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
        onChange={(event) => {
          take(event.currentTarget.files?.[0])
          // The same file may be chosen again.
          event.currentTarget.value = ''
        }}
      />
    </div>
  )
}
