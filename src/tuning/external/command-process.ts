import { spawn } from 'node:child_process'

/**
 * Runs the command of another trainer, and ends it when the server asks for it or has ended: a program of somebody else does not
 * notice that by itself. The command is in this process's group, so that both can be ended at once.
 */

/** Time that the command has after SIGTERM when nobody waits for it any more, in ms. */
const graceMs = 10_000

const [command = '', ...args] = process.argv.slice(2)
const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })

const stop = (): void => void child.kill('SIGTERM')
process.on('SIGTERM', stop)
// It ends when the server does.
process.stdin.on('end', () => {
  stop()
  setTimeout(() => process.kill(-process.pid, 'SIGKILL'), graceMs).unref()
})
process.stdin.on('error', stop)
process.stdin.resume()

child.once('error', (error: NodeJS.ErrnoException) => {
  const why = error.code === 'ENOENT' ? 'is not installed' : `cannot be started (${error.code})`
  process.stdout.write(`${JSON.stringify({ type: 'failed', message: `The program of the trainer ${why}.` })}\n`)
  process.exitCode = 1
  process.stdin.destroy()
})
child.once('exit', (code, signal) => {
  process.exitCode = signal === null ? (code ?? 1) : 1
  process.stdin.destroy()
})
