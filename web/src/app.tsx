import type { ComponentType } from 'preact'
import { lazy, Suspense } from 'preact/compat'
import { useEffect, useErrorBoundary, useRef } from 'preact/hooks'
import { followLinks, path } from './router.ts'
import { nextTheme, theme } from './theme.ts'
import { Announcer, announce } from './ui/announce.tsx'
import { Icon, type IconName } from './ui/icon.tsx'

interface Place {
  path: string
  name: string
  icon: IconName
  Page: ComponentType
}

/** The pages. Each is loaded when it is first opened. */
const places: readonly Place[] = [
  { path: '/', name: 'Ask', icon: 'ask', Page: lazy(() => import('./pages/ask/page.tsx')) },
  { path: '/library', name: 'Models', icon: 'models', Page: lazy(() => import('./pages/library/page.tsx')) },
  { path: '/tuning', name: 'Tuning', icon: 'tune', Page: lazy(() => import('./pages/tuning/page.tsx')) },
  { path: '/activity', name: 'Activity', icon: 'activity', Page: lazy(() => import('./pages/activity/page.tsx')) },
  { path: '/keys', name: 'Keys', icon: 'key', Page: lazy(() => import('./pages/keys/page.tsx')) },
  { path: '/docs', name: 'API', icon: 'book', Page: lazy(() => import('./pages/docs/page.tsx')) },
]

export function App() {
  const here = places.find((place) => place.path === path.value) ?? places[0]
  if (here === undefined) return null
  document.title = here.path === '/' ? 'Oriel' : `${here.name} · Oriel`
  const before = useRef(here)
  useEffect(() => {
    // A browser reads the title of the first page itself.
    if (before.current !== here) announce(here.name)
    before.current = here
  }, [here])
  return (
    // Links are followed wherever they are, also with the keyboard, which clicks them.
    // biome-ignore lint/a11y/noStaticElementInteractions: the links are what is used
    // biome-ignore lint/a11y/useKeyWithClickEvents: a browser makes a click of the enter key
    <div class="shell" onClick={followLinks}>
      <a class="button skip" href="#main">
        Skip to the content
      </a>
      <nav class="rail" aria-label="Pages">
        <a class="brand" href="/" data-page>
          <img src="/oriel.svg" alt="" width="24" height="24" />
          Oriel
        </a>
        {places.map((place) => (
          <a
            key={place.path}
            class="place"
            href={place.path}
            data-page
            {...(place === here ? { 'aria-current': 'page' as const } : {})}
          >
            <Icon name={place.icon} />
            {place.name}
          </a>
        ))}
        <div class="end">
          <button
            type="button"
            class="button quiet icon"
            onClick={nextTheme}
            aria-label={`Colours: ${theme.value}. Change them.`}
          >
            <Icon name="theme" />
          </button>
        </div>
      </nav>
      <main id="main" tabIndex={-1}>
        <Shown key={here.path} place={here} />
      </main>
      <Announcer />
    </div>
  )
}

/** A page, or why there is none: its code may be gone with the server, or with the version before it. */
function Shown({ place: { name, Page } }: { place: Place }) {
  const [error] = useErrorBoundary()
  if (error !== undefined)
    return (
      <div class="page">
        <div class="note bad" role="alert">
          <p>The page “{name}” cannot be shown. The server may be away, or newer than this page.</p>
          <p>
            <button type="button" class="button" onClick={() => location.reload()}>
              Load it again
            </button>
          </p>
        </div>
      </div>
    )
  return (
    <Suspense fallback={<div class="page" aria-busy="true" />}>
      <Page />
    </Suspense>
  )
}
