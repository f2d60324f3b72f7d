import { execFileSync, spawn } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const bin = fileURLToPath(new URL('../../bin/oriel.js', import.meta.url))
const readers = 200

const residentMegabytes = (pid: number): number =>
  Math.round(Number.parseInt(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }), 10) / 1000)

it('keeps its memory while 200 clients do not read their streams', async () => {
  // A queue for all of them, and answers that are long as JSON: each token has the twenty likeliest beside it.
  const server = spawn(process.execPath, [bin, 'serve', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ORIEL_LOG_LEVEL: 'error' },
  })
  const sockets: Socket[] = []
  try {
    let out = ''
    for await (const part of server.stdout) {
      out += part
      if (out.endsWith('\n\n') && out.includes('curl ')) break
    }
    const { hostname, port } = new URL(/http:\/\/\S+:\d+/.exec(out)?.[0] ?? '')
    const body = JSON.stringify({
      model: 'pocket',
      stream: true,
      max_tokens: 100,
      ignore_eos: true,
      logprobs: true,
      top_logprobs: 20,
      messages: [{ role: 'user', content: 'Hello' }],
    })
    const ask = (): void => {
      const socket = connect(Number(port), hostname)
      // The kernel holds some of an answer for its reader, and the rest of it must wait.
      socket.pause()
      socket.write(
        `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      )
      sockets.push(socket)
    }
    for (let i = 0; i < 20; i++) ask()
    await new Promise((resolve) => setTimeout(resolve, 4000))
    const before = residentMegabytes(server.pid ?? 0)
    while (sockets.length < readers) ask()
    const metrics = async (): Promise<string> => (await fetch(`http://${hostname}:${port}/metrics`)).text()
    const underWay = async (): Promise<number> =>
      [...(await metrics()).matchAll(/^oriel_engine\{.*what="(?:running|waiting)"\} (\d+)$/gm)].reduce(
        (sum, [, count]) => sum + Number(count),
        0,
      )
    for (let tries = 0; tries < 160 && (await underWay()) > 0; tries++)
      await new Promise((resolve) => setTimeout(resolve, 500))
    const after = residentMegabytes(server.pid ?? 0)
    process.stdout.write(`resident memory: ${before} MB with 20 slow readers, ${after} MB with ${readers}\n`)
    expect(await underWay()).toBe(0)
    // Some 30 MB of answers, if they were kept.
    expect(after).toBeLessThan(before + 60)
  } finally {
    for (const socket of sockets) socket.destroy()
    server.kill('SIGKILL')
  }
}, 120_000)
