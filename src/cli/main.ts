import { OrielError } from '../errors.ts'
import { addressSpace, addressSpaceText, failureText } from './failure.ts'
import { createProgram } from './program.ts'

/** The exit status of programs that Ctrl-C ends: 128 and the number of the signal. */
const interrupted = 130
/** In bytes. */
const hopeless = 4e9

// The reader of a pipe, such as `head`, has closed it: exit as after SIGPIPE, without a message.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(141)
  throw error
})
// Node would print the source of the library that failed.
process.on('uncaughtException', (error) => void fail(error))

async function fail(error: unknown): Promise<never> {
  if (error instanceof OrielError && error.kind === 'cancelled' && error.code === 'interrupted') return end(interrupted)
  process.stderr.write(`oriel: ${await failureText(error)}\n`)
  return end(1)
}

/** Exits when all that was written has been taken: the reader of a pipe may be slower. */
async function end(code: number): Promise<never> {
  await Promise.all(
    [process.stdout, process.stderr].map((output) => new Promise<void>((resolve) => output.write('', () => resolve()))),
  )
  process.exit(code)
}

// With less than this, Node dies before it can throw an error.
if (addressSpace() < hopeless) {
  process.stderr.write(`oriel: ${addressSpaceText()}\n`)
  process.exit(1)
}

try {
  await createProgram().parseAsync()
} catch (error) {
  await fail(error)
}
