import { platform } from 'node:os'
import koffi from 'koffi'
import { functionsOf } from './function.ts'

/** `PR_SET_PDEATHSIG` of prctl(2), and the signal. */
const parentDeath = 1
const kill = 9

/**
 * Ends this process when the thread of its parent that started it ends, even during a call of native code. On Linux only.
 */
export function dieWithParent(): void {
  if (platform() !== 'linux') return
  const prctl = functionsOf(koffi.load(null))<(option: number, a: number, b: number, c: number, d: number) => number>(
    'int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)',
  )
  prctl(parentDeath, kill, 0, 0, 0)
}
