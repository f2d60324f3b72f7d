import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { tuningActions } from '../../server/tuning.ts'
import { Dialog } from '../../ui/dialog.tsx'
import { Failure } from '../../ui/failure.tsx'

interface DownloadProps {
  title: string
  /** `accounts/local/models/mine`, or a dataset. */
  name: string
  onClose: () => void
}

/** The files of an adapter or a dataset, each with a link. */
export function DownloadDialog({ title, name, onClose }: DownloadProps) {
  const files = useSignal<readonly { name: string; url: string }[] | undefined>(undefined)
  const failure = useSignal('')
  useEffect(() => {
    tuningActions.filesOf(name).then(
      (found) => {
        files.value = found
      },
      (error: Error) => {
        failure.value = error.message
      },
    )
  }, [name])
  return (
    <Dialog title={title} onClose={onClose}>
      <Failure text={failure.value} />
      {files.value === undefined && failure.value === '' ? <p class="dim">Looking for its files …</p> : null}
      <ul class="files mono">
        {(files.value ?? []).map((file) => (
          <li key={file.name}>
            <a href={file.url} download={file.name}>
              {file.name}
            </a>
          </li>
        ))}
      </ul>
    </Dialog>
  )
}
