import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { actions, type Model, readListing } from '../../server/models.ts'
import { announce } from '../../ui/announce.tsx'
import { Failure } from '../../ui/failure.tsx'
import { bytes } from '../../ui/figures.ts'
import { FormDialog } from '../../ui/form-dialog.tsx'

/** Asks before the files of a model are removed, and says which. */
export function Removal({ model, onClose }: { model: Model; onClose: () => void }) {
  const found = useSignal<{ files: readonly string[]; bytes: number } | undefined>(undefined)
  const failure = useSignal('')
  useEffect(() => {
    actions.remove(model.id, true).then(
      (it) => {
        found.value = it
      },
      (error: Error) => {
        failure.value = error.message
      },
    )
  }, [model.id])
  const remove = async (): Promise<void> => {
    await actions.remove(model.id, false)
    await readListing()
    announce(`${model.title} is removed.`)
    onClose()
  }
  return (
    <FormDialog
      title={`Remove ${model.title}?`}
      action="Remove"
      cancel="Keep it"
      isDanger
      isDisabled={found.value === undefined}
      onSubmit={remove}
      onClose={onClose}
    >
      <Failure text={failure.value} />
      {found.value === undefined ? (
        failure.value === '' && <p class="dim">Looking for its files …</p>
      ) : (
        <>
          <p>
            {found.value.files.length === 1 ? 'One file goes' : `${found.value.files.length} files go`}, and{' '}
            {bytes(found.value.bytes)} become free.{' '}
            {model.repo === null ? 'This is the only copy that Oriel knows of.' : 'The model can be downloaded again.'}
          </p>
          <ul class="files mono">
            {found.value.files.map((file) => (
              <li key={file}>{file}</li>
            ))}
          </ul>
        </>
      )}
    </FormDialog>
  )
}
