import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { CodeOf } from '../state/code.ts'
import type { Picture } from '../state/conversation.ts'
import type { Draft } from '../state/draft.ts'
import { CodeDialog } from './code-dialog.tsx'
import { PagesDialog } from './pages-dialog.tsx'
import { SeenDialog } from './seen-dialog.tsx'

type Open =
  | { kind: 'pages'; draft: Draft; picture: Picture }
  | { kind: 'seen'; picture: Picture; model: string | undefined }
  | { kind: 'code'; of: CodeOf }

const open = signal<Open | null>(null)
const close = (): void => {
  open.value = null
}

export function choosePages(draft: Draft, picture: Picture): void {
  open.value = { kind: 'pages', draft, picture }
}

/** @param model the one that looks; by default that of the conversation */
export function showSeen(picture: Picture, model?: string): void {
  open.value = { kind: 'seen', picture, model }
}

export function showCode(of: CodeOf): void {
  open.value = { kind: 'code', of }
}

/** The dialog of this page that is open. */
export function Dialogs() {
  useEffect(() => close, [])
  const it = open.value
  if (it === null) return null
  if (it.kind === 'pages') return <PagesDialog draft={it.draft} picture={it.picture} onClose={close} />
  if (it.kind === 'seen') return <SeenDialog picture={it.picture} model={it.model} onClose={close} />
  return <CodeDialog of={it.of} onClose={close} />
}
