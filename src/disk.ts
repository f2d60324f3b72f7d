import { statfs } from 'node:fs/promises'
import { OrielError } from './errors.ts'
import { bytesText } from './sizes.ts'

/** Bytes that stay free on a disk. */
const spare = 64e6

/** @param folder that exists, or the check says nothing @throws OrielError `precondition_failed` if so many bytes have no space */
export async function checkSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder).catch(() => ({ bavail: Number.POSITIVE_INFINITY, bsize: 1 }))
  if (bytes + spare > bavail * bsize)
    throw noSpace(`${bytesText(bytes)} are to come, ${bytesText(bavail * bsize)} are free.`)
}

/** Whether an error of the system says that the disk or its owner's share of it is full. */
export const isFull = (error: unknown): boolean => ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(systemCode(error))

/** Whether it says that this process may not write there. */
export const isLocked = (error: unknown): boolean => ['EACCES', 'EROFS', 'EPERM'].includes(systemCode(error))

/** The code of an error of the system: `ENOENT`. */
export const systemCode = (error: unknown): string =>
  error instanceof Error && 'code' in error && !(error instanceof OrielError) ? String(error.code) : ''

export const noSpace = (why: string): OrielError =>
  new OrielError('precondition_failed', `The disk of the server has not enough space. ${why}`, { code: 'no_space' })
