import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { ServerError } from '../../../server/client.ts'
import { Dialog } from '../../../ui/dialog.tsx'
import type { Picture } from '../state/conversation.ts'
import { changePicture, type Draft } from '../state/draft.ts'
import { pagesOf, selectionOf } from '../state/pages.ts'
import { lookingModel, previewOf } from '../state/preview.ts'

/** As many pages are shown as pictures: a book has more than a person looks through here. */
const most = 60
/** Pages of one request, which has the whole document in it. The first comes alone, and soon. */
const atOnce = 6

/** The pages of a document, of which some are sent. */
export function PagesDialog({ draft, picture, onClose }: { draft: Draft; picture: Picture; onClose: () => void }) {
  const images = useSignal<readonly string[]>([])
  const pageCount = useSignal(0)
  const problem = useSignal('')
  const typed = useSignal(picture.pages)
  useEffect(() => {
    let gone = false
    const load = async (): Promise<void> => {
      const model = lookingModel()
      if (model === undefined) throw new ServerError('No model of this server looks at pages.', 0)
      for (let from = 1; !gone && from <= Math.min(most, pageCount.value || 1); ) {
        const to = from === 1 ? 1 : Math.min(from + atOnce - 1, most, pageCount.value)
        const { pictures } = await previewOf(model, { ...picture, pages: `${from}-${to}` }, 'low')
        if (pictures.length === 0 || gone) return
        pageCount.value = pictures[0]?.pages ?? 0
        images.value = [...images.value, ...pictures.map(({ views }) => views[0]?.image ?? '')]
        from = to + 1
      }
    }
    load().catch((error: unknown) => {
      problem.value = error instanceof ServerError ? error.message : 'The pages cannot be shown.'
    })
    return () => {
      gone = true
    }
  }, [])
  const chosen = pagesOf(typed.value, pageCount.value)
  const toggle = (page: number): void => {
    const changed = new Set(chosen)
    if (!changed.delete(page)) changed.add(page)
    typed.value = selectionOf(changed, pageCount.value)
  }
  return (
    <Dialog title={`Pages of ${picture.name}`} wide onClose={onClose}>
      {problem.value !== '' && <p class="note bad">{problem.value}</p>}
      <ul class="pages" aria-label="Pages">
        {Array.from({ length: Math.min(most, pageCount.value || 1) }, (_, index) => {
          const image = images.value[index]
          return (
            <li key={index}>
              <button type="button" aria-pressed={chosen.has(index + 1)} onClick={() => toggle(index + 1)}>
                {image === undefined ? <span class="no-picture" /> : <img src={image} alt="" />}
                <span class="small figure">Page {index + 1}</span>
              </button>
            </li>
          )
        })}
      </ul>
      <form
        class="dialog-end"
        method="dialog"
        onSubmit={() => changePicture(draft, picture.id, { pages: typed.value.trim() })}
      >
        <label class="field grow">
          <span>
            Pages to send <span class="hint">such as 1-3,7; empty: all</span>
          </span>
          <input
            class="input figure"
            value={typed.value}
            pattern="\s*(\d+(\s*-\s*\d+)?\s*(,\s*\d+(\s*-\s*\d+)?\s*)*)?"
            onInput={(event) => {
              typed.value = event.currentTarget.value
            }}
          />
        </label>
        <button type="submit" class="button primary">
          Use these
        </button>
      </form>
    </Dialog>
  )
}
