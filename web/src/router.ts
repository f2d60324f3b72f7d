import { signal } from '@preact/signals'

/** The path that is shown. */
export const path = signal(location.pathname)
addEventListener('popstate', () => {
  path.value = location.pathname
})

function go(to: string): void {
  history.pushState(null, '', to)
  path.value = location.pathname
  scrollTo(0, 0)
}

/** Follows links within the pages without loading them again. */
export function followLinks(event: MouseEvent): void {
  const link = (event.target as Element).closest('a')
  if (link === null || link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin) return
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return
  if (!link.hasAttribute('data-page')) return
  event.preventDefault()
  go(link.pathname + link.search)
}
