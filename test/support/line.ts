import { connect, createServer, type Socket } from 'node:net'

/** The network between a server and a service that it needs. */
export interface Line {
  readonly url: string
  /** From now on nothing comes through, and nobody is told: neither that what is open is dead, nor why nothing opens. */
  drop(): void
  /** New connections come through again. What was open stays dead, as after a firewall has forgotten it. */
  restore(): void
  close(): Promise<void>
}

/** @param to the URL of the service */
export async function startLine(to: string): Promise<Line> {
  const { hostname, port } = new URL(to)
  const sockets = new Set<Socket>()
  let isDropped = false
  const server = createServer({ allowHalfOpen: true }, (near) => {
    sockets.add(near.on('error', () => {}).on('close', () => sockets.delete(near)))
    if (isDropped) return
    const far = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
    sockets.add(far.on('error', () => near.destroy()).on('close', () => sockets.delete(far)))
    near.pipe(far).pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const url = new URL(to)
  url.port = String(typeof address === 'object' ? address?.port : '')
  return {
    url: url.href.replace(/\/$/, ''),
    drop() {
      isDropped = true
      for (const socket of sockets) socket.unpipe().pause()
    },
    restore() {
      isDropped = false
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
