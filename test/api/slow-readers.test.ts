import { execFileSync } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { expect, it, vi } from 'vitest'
import { orielServe } from '../support/cli.ts'
import { inputs, shortRun } from '../support/long.ts'

const readers = inputs(80, 200)
const maxTokens = 100

const residentMegabytes = (pid: number): number =>
  Math.round(Number.parseInt(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }), 10) / 1000)

it.skipIf(shortRun)(
  `keeps its memory while ${readers} clients do not read their streams`,
  async () => {
    // Answers are long as JSON: each token has its twenty alternatives.
    const server = await orielServe([], { ORIEL_LOG_LEVEL: 'error' })
    const { hostname, port } = new URL(server.url)
    const sockets: Socket[] = []
    try {
      const body = JSON.stringify({
        model: 'pocket',
        stream: true,
        max_tokens: maxTokens,
        ignore_eos: true,
        logprobs: true,
        top_logprobs: 20,
        messages: [{ role: 'user', content: 'Hello' }],
      })
      const ask = (): void => {
        const socket = connect(Number(port), hostname)
        // The kernel buffers some of an answer; the rest waits in the server.
        socket.pause()
        socket.write(
          `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        )
        sockets.push(socket)
      }
      /** Waits until the engine has made this many answers. Their clients have read none of them. */
      const answered = async (answers: number): Promise<void> => {
        const tokens = `oriel_generated_tokens_total{model="pocket"} ${answers * maxTokens}`
        const made = async () => expect(await (await fetch(`${server.url}/metrics`)).text()).toContain(tokens)
        await vi.waitFor(made, { timeout: 250_000, interval: 200 })
      }
      for (let i = 0; i < 20; i++) ask()
      await answered(20)
      const before = residentMegabytes(server.pid)
      while (sockets.length < readers) ask()
      await answered(readers)
      const after = residentMegabytes(server.pid)
      process.stdout.write(`resident memory: ${before} MB with 20 slow readers, ${after} MB with ${readers}\n`)
      // With 200 some 30 MB of answers, if they were kept.
      expect(after).toBeLessThan(before + 60)
    } finally {
      for (const socket of sockets) socket.destroy()
      server.child.kill('SIGKILL')
    }
  },
  600_000,
)
