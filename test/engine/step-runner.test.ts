import { expect, it } from 'vitest'
import { Cores } from '../../src/engine/cores.ts'
import type { Pass } from '../../src/engine/step-batch.ts'
import { stepRunner } from '../../src/engine/step-runner.ts'

const pass = { rows: 1, mutual: true } as Partial<Pass> as Pass

function runnerOf(busy: boolean, done = true) {
  const calls: unknown[] = []
  const runner = stepRunner(
    {
      setThreads: (threads, beside) => calls.push(`${threads} threads${beside ? ' beside the encoder' : ''}`),
      async decode(_, mutual) {
        calls.push(mutual ? 'mutual' : 'causal')
        return done
      },
    },
    { busy, giveWay: (decoding) => calls.push(decoding ? 'give way' : 'take all') },
    new Cores(4),
    () => calls.push('started'),
  )
  return { runner, calls }
}

it('runs a pass on all cores while the encoder is idle, and reports when it has started', async () => {
  const { runner, calls } = runnerOf(false)
  expect(await runner.run(pass, false)).toBe(true)
  expect(calls).toEqual(['4 threads', 'give way', 'mutual', 'started'])
})

it('leaves half of the cores to the encoder, except in prefill', async () => {
  const { runner, calls } = runnerOf(true)
  await runner.run(pass, false)
  await runner.run(pass, true)
  expect(calls.filter((call) => String(call).includes('threads'))).toEqual([
    '2 threads beside the encoder',
    '4 threads beside the encoder',
  ])
})

it('reports that the KV memory is full, and gives the encoder all cores when no step is due', async () => {
  const { runner, calls } = runnerOf(false, false)
  expect(await runner.run(pass, false)).toBe(false)
  runner.idle()
  expect(calls.at(-1)).toBe('take all')
})
