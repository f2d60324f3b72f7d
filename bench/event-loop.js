import { monitorEventLoopDelay } from 'node:perf_hooks'

/**
 * Runs inside Oriel's API process, imported before its own code: measures how long the event loop is held up, and
 * answers the bench. JavaScript, so that the process needs no loader. It samples every millisecond, and a sample
 * includes that millisecond. It samples only on request: waking up so often costs a decode on the same cores a tenth of
 * its speed.
 */
const resolution = 1
const delay = monitorEventLoopDelay({ resolution })

process.on('message', (question) => {
  if (question === 'loop-start') {
    delay.reset()
    delay.enable()
    return
  }
  delay.disable()
  process.send?.({ p99: Math.max(0, delay.percentile(99) / 1e6 - resolution) })
})
// The channel must not keep the server alive.
process.channel?.unref()
