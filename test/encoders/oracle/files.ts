import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Family } from './families.ts'

/** The files of a family's small model. */
export interface ModelFiles {
  readonly name: string
  readonly decoder: string
  readonly projector: string
  remove(): void
}

export function openFiles({ name, write }: Family): ModelFiles {
  const folder = mkdtempSync(path.join(tmpdir(), `oriel-${name}-`))
  const [decoder, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  write(decoder, projector)
  return { name, decoder, projector, remove: () => rmSync(folder, { recursive: true }) }
}
