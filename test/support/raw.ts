import { type IncomingHttpHeaders, request } from 'node:http'
import { connect, type Socket } from 'node:net'

interface Sent {
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** A request with exactly these headers: `fetch` sets some of its own. */
export const send = (
  url: string,
  { method = 'GET', headers = {}, body }: Sent = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> =>
  new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
    })
    sent.on('error', reject).end(body)
  })

export interface Upload {
  readonly socket: Socket
  /** What came back until the connection closed. */
  readonly answer: Promise<string>
}

/**
 * Begins a request whose body never ends by itself.
 * @param bytes the declared length, or `chunked`
 * @param from the client's address
 */
export function upload(url: string, bytes: number | 'chunked', from = '127.0.0.1'): Upload {
  const { hostname, port } = new URL(url)
  const socket = connect({ port: Number(port), host: hostname, localAddress: from })
  const length = bytes === 'chunked' ? 'transfer-encoding: chunked' : `content-length: ${bytes}`
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n${length}\r\n\r\n`,
  )
  const answer = new Promise<string>((resolve) => {
    let got = ''
    socket.setEncoding('utf8').on('data', (part) => {
      got += part
      if (got.includes('\r\n\r\n')) resolve(got)
    })
    socket.on('close', () => resolve(got)).on('error', () => resolve(got))
  })
  return { socket, answer }
}
