import type { AttachmentKind } from '../../attachments.ts'
import { OrielError } from '../../errors.ts'

/** @param bytes the limit */
export const needsMemory = (kind: AttachmentKind, bytes: number): OrielError =>
  new OrielError(
    'unreadable_media',
    `The ${kind} cannot be decoded: it takes more than ${bytes} bytes of memory, the limit for one file.`,
    { code: `${kind}_needs_memory` },
  )
