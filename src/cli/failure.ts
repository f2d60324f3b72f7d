import { readFileSync } from 'node:fs'
import { OrielError } from '../errors.ts'

/** Below this limit of its address space, Node itself fails in ways of many kinds. */
const leastAddressSpace = 24e9
/** The same for open files. */
const leastFiles = 256

/**
 * What a person reads when a command fails: one sentence with a cure, or the stack of an error that only we can cure.
 */
export async function failureText(error: unknown): Promise<string> {
  if (error instanceof OrielError && error.kind !== 'internal') return (await import('./advice.ts')).advised(error)
  if (addressSpace() < leastAddressSpace) return addressSpaceText()
  if (error instanceof OrielError) return (await import('./advice.ts')).advised(error)
  if (!(error instanceof Error)) return String(error)
  // Node reports a package that it cannot open as missing.
  if (limitOf('open files') < leastFiles) return tooManyFiles
  return explained(error) ?? error.stack ?? error.message
}

/** Errors of the system and of an installation that is not whole. */
function explained(error: Error & { code?: unknown; path?: unknown; syscall?: unknown }): string | undefined {
  const file = typeof error.path === 'string' ? error.path : undefined
  switch (error.code) {
    case 'ERR_MODULE_NOT_FOUND':
    case 'MODULE_NOT_FOUND':
      return `A part of Oriel is not installed (${firstLine(error)}). Install it again: npm i -g oriel, or npm ci in a clone.`
    case 'ENOSPC':
      return `The disk is full${file === undefined ? '' : `: ${file} cannot be written`}. Free some space, and repeat the command.`
    case 'EMFILE':
    case 'ENFILE':
      return tooManyFiles
    case 'ENOMEM':
    case 'EAGAIN':
      return 'The system refuses more memory or processes. End other programs, or raise the limits of this user (ulimit -u, ulimit -v).'
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return file === undefined
        ? undefined
        : `${file} may not be used by this user (${error.code}). Change its permissions, or choose another folder.`
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
      return file === undefined ? undefined : `${file} is missing, or is not what it should be (${error.code}).`
  }
  if (/Out of memory|allocation failed/i.test(error.message))
    return `There is not enough memory (${firstLine(error)}). End other programs, or raise the limit of the container.`
  // What `fetch` throws when a response breaks off.
  if (error instanceof TypeError && error.message === 'terminated')
    return 'The server closed the connection before its answer was complete. Repeat the command.'
  if (/dlopen|Failed to load shared library|invalid ELF|wrong ELF|image not found|GLIBC/i.test(error.message))
    return `A native library cannot be loaded (${firstLine(error)}). Install Oriel again on this machine: npm i -g oriel, or npm ci in a clone.`
  return undefined
}

const tooManyFiles = 'Too many files are open. Raise the limit: ulimit -n 4096.'

const firstLine = (error: Error): string => error.message.split('\n')[0] ?? ''

export const addressSpaceText = (): string =>
  `The limit of this shell for the address space (ulimit -v ${Math.floor(addressSpace() / 1024)}) is too small. Remove it with \`ulimit -v unlimited\`; a container or systemd's MemoryMax limits memory.`

/** The limit of the address space of this process, in bytes. */
export const addressSpace = (): number => limitOf('address space')

/** A limit of this process. Only Linux tells; elsewhere there is none. */
export const limitOf = (what: 'address space' | 'open files'): number =>
  Number(new RegExp(`^Max ${what} +(\\d+)`, 'm').exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)

/** Read at the start: when too many files are open, it is too late. */
const limits = ((): string => {
  try {
    return readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return ''
  }
})()
