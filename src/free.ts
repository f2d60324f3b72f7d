import { MessageChannel } from 'node:worker_threads'

/** A closed port. A buffer that is transferred to it is freed. */
const { port1: closedPort, port2 } = new MessageChannel()
port2.close()
closedPort.close()

/**
 * Frees the memory of an array at once, which leaves it empty. The garbage collector may take minutes to do so, and collects
 * more often when much is left to it.
 */
export function free({ buffer }: Uint8Array): void {
  // Another thread may have taken it.
  if (buffer.byteLength > 0) closedPort.postMessage(null, [buffer as ArrayBuffer])
}
