import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'

/** How long a client may read nothing of a stream while more waits for it, in ms. What it holds is then given back. */
const longestUnread = 120_000

/** Takes a response over from the framework, with the headers that it has. */
export function takeOver(reply: FastifyReply): ServerResponse {
  reply.hijack()
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value)
  return reply.raw
}

/** Waits for a slow client: unread text must not pile up in memory. @param patience for one that reads nothing, in ms */
export async function write(response: ServerResponse, text: string, patience = longestUnread): Promise<void> {
  if (response.destroyed || response.write(text)) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => response.destroy(), patience)
    const go = (): void => {
      clearTimeout(timer)
      response.off('drain', go).off('close', go)
      resolve()
    }
    response.on('drain', go).on('close', go)
  })
}

/** Writes them one by one, as `write` does, with a turn for others between two: a large piece takes some ms. */
export async function writePieces(
  response: ServerResponse,
  pieces: Iterable<string>,
  patience?: number,
): Promise<void> {
  for (const piece of pieces) {
    if (response.destroyed) return
    await write(response, piece, patience)
    await nextTurn()
  }
}
