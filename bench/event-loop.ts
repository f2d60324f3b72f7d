import { monitorEventLoopDelay } from 'node:perf_hooks'

/**
 * Runs inside Oriel's API process, imported before its own code: measures how long its event loop is held up, and tells
 * the bench when asked. It samples every millisecond, and a sample holds that millisecond too. Only while it is asked to:
 * waking up so often costs a decode on the same cores a tenth of its speed.
 */
const resolution = 1
const delay = monitorEventLoopDelay({ resolution })

process.on('message', (question: LoopQuestion) => {
  if (question === 'loop-start') {
    delay.reset()
    delay.enable()
    return
  }
  delay.disable()
  process.send?.({ p99: Math.max(0, delay.percentile(99) / 1e6 - resolution) } satisfies LoopDelay)
})
// The bench's questions shall not keep the server alive.
process.channel?.unref()

export type LoopQuestion = 'loop-start' | 'loop-end'

/** In ms. */
export interface LoopDelay {
  p99: number
}
