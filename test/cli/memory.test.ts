import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { orielServe } from '../support/cli.ts'
import { postJson } from '../support/http.ts'
import { type Colour, colours, dataUrl, shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'

/** Resident megabytes of a process and all that it started. */
function residentOf(pid: number): number {
  const all = execFileSync('ps', ['-eo', 'pid=,ppid=,rss='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
  const sum = (id: number): number =>
    all.reduce((total, [child, parent, rss]) => {
      if (child === id) return total + (rss ?? 0)
      return parent === id && child !== undefined ? total + sum(child) : total
    }, 0)
  return Math.round(sum(pid) / 1000)
}

it.skipIf(shortRun)(
  'a server holds its memory over hundreds of requests with new images',
  async () => {
    // Small caches are full before the first measurement.
    const server = await orielServe([], {
      ORIEL_LOG_LEVEL: 'error',
      ORIEL_ENCODER_CACHE: '1000000',
      ORIEL_CONTEXT: '2048',
    })
    try {
      const url = `${server.url}/v1/chat/completions`
      const last = 700
      const names = Object.keys(colours) as Colour[]
      let next = 0
      const ask = async (): Promise<void> => {
        const i = next++
        const image = await shape(names[i % names.length] ?? 'red', i % 2 ? 'circle' : 'square', 64 + (i % 200))
        const response = await postJson(url, {
          model: 'pocket',
          max_tokens: 24,
          messages: [
            {
              role: 'user',
              content: [
                { type: 'image_url', image_url: { url: dataUrl(image) } },
                { type: 'text', text: 'What is in this image?' },
              ],
            },
          ],
        })
        expect(response.status, await response.text()).toBe(200)
      }
      const askUntil = async (count: number): Promise<number> => {
        const client = async () => {
          while (next < count) await ask()
        }
        await Promise.all([client(), client(), client(), client()])
        return residentOf(server.pid)
      }
      const [before, after] = [await askUntil(200), await askUntil(last)]
      process.stdout.write(`resident memory: ${before} MB after 200 requests, ${after} MB after ${last}\n`)
      // It goes up and down by some 30 MB; over 2000 requests it does not grow.
      expect(after).toBeLessThan(before + 50)
    } finally {
      server.child.kill('SIGKILL')
    }
  },
  600_000,
)
