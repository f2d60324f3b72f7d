import { expect, it } from 'vitest'
import { patiently } from '../../src/cli/patience.ts'
import { type ErrorKind, OrielError } from '../../src/errors.ts'

/** Fails so often in this way, then answers. */
function failing(kind: ErrorKind, times: number) {
  const asked = { times: 0 }
  const ask = async (): Promise<string> => {
    if (++asked.times <= times) throw new OrielError(kind, `It is ${kind}.`)
    return 'here'
  }
  return { asked, ask }
}

it('asks a server again that does not answer, or not as it usually does', async () => {
  for (const kind of ['timeout', 'overloaded', 'internal'] as const)
    expect(await patiently(failing(kind, 3).ask, { pauseMs: 1 }), kind).toBe('here')
})

it('gives up after the time, with what was wrong last; at once if the same question would be refused again', async () => {
  await expect(patiently(failing('timeout', Number.POSITIVE_INFINITY).ask, { waitMs: 5, pauseMs: 1 })).rejects.toThrow(
    'It is timeout.',
  )
  const { ask, asked } = failing('not_found', 1)
  await expect(patiently(ask, { pauseMs: 1 })).rejects.toThrow('It is not_found.')
  expect(asked.times).toBe(1)
})
