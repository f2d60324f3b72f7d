import { z } from 'zod'
import type { Timings } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'

/** Fireworks' `perf_metrics`. */
export const perfMetrics = z.record(z.string(), z.string()).describe('Counts, and times in seconds.')

export function performanceOf({ usage, media }: RunningAnswer, timings: Timings): z.output<typeof perfMetrics> {
  return {
    'prompt-tokens': String(usage.promptTokens),
    'cached-prompt-tokens': String(usage.cachedTokens),
    'server-time-to-first-token': seconds(media.media + timings.firstToken),
    'server-processing-time': seconds(media.media + timings.firstToken + timings.generation),
    'prefill-queue-duration': seconds(timings.queue),
    'prefill-duration': seconds(timings.prefill),
    'generation-duration': seconds(timings.generation),
    'image-encode-duration': seconds(timings.encode),
  }
}

export const seconds = (ms: number): string => (ms / 1000).toFixed(4)
