import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'

/** Takes files that are dropped anywhere in the window. @returns whether some are held over it */
export function useDroppedFiles(take: (files: Iterable<File>) => void): boolean {
  const isOver = useSignal(false)
  useEffect(() => {
    // A text that is dragged goes into the field that it is dropped on.
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false
    const over = (event: DragEvent): void => {
      if (!hasFiles(event)) return
      event.preventDefault()
      isOver.value = true
    }
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) isOver.value = false
    }
    const drop = (event: DragEvent): void => {
      isOver.value = false
      if (!hasFiles(event)) return
      event.preventDefault()
      take(event.dataTransfer?.files ?? [])
    }
    addEventListener('dragover', over)
    addEventListener('dragleave', leave)
    addEventListener('drop', drop)
    return () => {
      removeEventListener('dragover', over)
      removeEventListener('dragleave', leave)
      removeEventListener('drop', drop)
    }
  }, [])
  return isOver.value
}
