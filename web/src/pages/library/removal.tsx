import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { actions, type Model, readListing } from '../../server/models.ts'
import { announce } from '../../ui/announce.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { Failure } from '../../ui/failure.tsx'
import { bytes } from '../../ui/figures.ts'

/** Asks before the files of a model are removed, and says which. */
export function Removal({ model, onClose }: { model: Model; onClose: () => void }) {
  const found = useSignal<{ files: readonly string[]; bytes: number } | undefined>(undefined)
  const failure = useSignal('')
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  useEffect(() => {
    void attempt(async () => {
      found.value = await actions.remove(model.id, true)
    })
  }, [model.id])
  const remove = () =>
    attempt(async () => {
      await actions.remove(model.id, false)
      await readListing()
      announce(`${model.title} is removed.`)
      onClose()
    })
  return (
    <Dialog title={`Remove ${model.title}?`} onClose={onClose}>
      <Failure text={failure.value} />
      {found.value === undefined ? (
        <p class="dim">Looking for its files …</p>
      ) : (
        <>
          <p>
            {found.value.files.length === 1 ? 'One file goes' : `${found.value.files.length} files go`}, and{' '}
            {bytes(found.value.bytes)} become free. The model can be downloaded again.
          </p>
          <ul class="files mono">
            {found.value.files.map((file) => (
              <li key={file}>{file}</li>
            ))}
          </ul>
        </>
      )}
      <p class="dialog-actions">
        <button type="button" class="button" onClick={onClose}>
          Keep it
        </button>
        <button type="button" class="button danger" disabled={found.value === undefined} onClick={() => void remove()}>
          Remove
        </button>
      </p>
    </Dialog>
  )
}
