import { signal } from '@preact/signals'

const said = signal('')

/** Says something to screen readers that others see happen. */
export function announce(text: string): void {
  // A text that is said twice must change in between.
  said.value = ''
  queueMicrotask(() => {
    said.value = text
  })
}

export const Announcer = () => (
  <div class="hidden-text" role="status" aria-live="polite">
    {said}
  </div>
)
