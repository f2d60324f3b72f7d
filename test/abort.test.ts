import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { onAbort, orAborted } from '../src/abort.ts'
import { deferred } from '../src/deferred.ts'

describe('onAbort', () => {
  it('calls the function once when the signal aborts', () => {
    const controller = new AbortController()
    let calls = 0
    onAbort(controller.signal, () => calls++)
    expect(calls).toBe(0)
    controller.abort()
    controller.abort()
    expect(calls).toBe(1)
  })

  it('calls the function at once if the signal has already aborted', () => {
    let calls = 0
    onAbort(AbortSignal.abort(), () => calls++)
    expect(calls).toBe(1)
  })

  it('does not call the function after the listener was removed', () => {
    const controller = new AbortController()
    let calls = 0
    const act = (): void => void calls++
    const remove = onAbort(controller.signal, act)
    onAbort(controller.signal, act)
    remove()
    controller.abort()
    expect(calls).toBe(1)
  })
})

describe('orAborted', () => {
  it('returns the result of the work and leaves no listener behind', async () => {
    const { signal } = new AbortController()
    expect(await orAborted(Promise.resolve(7), signal)).toBe(7)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('throws the error of the work', async () => {
    const { signal } = new AbortController()
    await expect(orAborted(Promise.reject(new Error('broken')), signal)).rejects.toThrow('broken')
  })

  it('throws cancelled, or the given error, when the signal aborts first, and ignores a later failure', async () => {
    const work = deferred<void>()
    const controller = new AbortController()
    const waits = [
      orAborted(work.promise, controller.signal),
      orAborted(work.promise, controller.signal, () => controller.signal.reason),
    ]
    controller.abort(new Error('too slow'))
    const [first, second] = await Promise.allSettled(waits)
    work.reject(new Error('later'))
    expect(first).toMatchObject({ status: 'rejected', reason: { kind: 'cancelled' } })
    expect(second).toMatchObject({ status: 'rejected', reason: { message: 'too slow' } })
  })
})
