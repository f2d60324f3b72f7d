import { Command, InvalidArgumentError, Option } from 'commander'
import { OrielError } from '../errors.ts'
import { version } from '../version.ts'

const wholeNumber = (least: number, most: number, message: string) => (text: string) => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < least || value > most) throw new InvalidArgumentError(message)
  return value
}

const port = wholeNumber(0, 65535, 'A port is a whole number from 0 to 65535.')
const count = wholeNumber(1, Number.POSITIVE_INFINITY, 'It must be a whole number of at least 1.')

const program = new Command('oriel').description('Ask vision-language models about images.').version(version)

const model = new Option('--model <name>', 'the model: a name that `oriel list` shows, or the path of a GGUF file')
const folder = new Option(
  '--models-dir <folder>',
  'a folder of GGUF files, instead of those of ORIEL_MODELS_DIR',
).argParser((given) => [given])
const projector = new Option('--mmproj <file>', "the model's vision file, if it is not in the same folder")

const gpu = new Option('--gpu <interface>', 'the GPU interface to use (default auto)').choices([
  'auto',
  'off',
  'cuda',
  'vulkan',
  'metal',
])

program
  .command('serve', { isDefault: true })
  .description('start the HTTP server')
  .option('--model <name...>', 'models to load at the start; other models are loaded when a request names them')
  .addOption(projector)
  .addOption(folder)
  .addOption(gpu)
  .option(
    '--memory-budget <size>',
    'memory for all models together, such as 8GB (default: four fifths of the free memory)',
  )
  .option('--host <address>', 'address to listen on (default 127.0.0.1)')
  .option('--port <number>', 'port to listen on (default 8080)', port)
  .option('--config <file>', 'a JSON file of settings')
  .option('--strict', 'refuse unknown parameters instead of listing them in a response header')
  .action(async (options) => (await import('./serve.ts')).serve(options))

program
  .command('ask')
  .description('ask one question, without a server')
  .argument('<image...>', 'images and PDFs (files or URLs), followed by the question')
  .addOption(model)
  .addOption(projector)
  .addOption(folder)
  .addOption(gpu)
  .option('--system <text>', 'a system prompt: "Answer in one word."')
  .option(
    '--pages <choice>',
    'pages of a PDF or frames of an animation: 1-3,7 or all, or a number of them, spread evenly: 8',
  )
  .option('--batch <number>', 'images in one question (default 30); longer documents are asked about in parts', count)
  .addHelpText(
    'after',
    `
Each page of a PDF is an image:
  oriel ask invoice.pdf "What is the total?"
  oriel ask --pages 1-3,7 report.pdf "Summarise this."
A document with more than 30 pages is asked about in parts. The answer to each part is printed under its page numbers,
followed by an answer for the whole document.`,
  )
  .action(async (words: string[], options) => (await import('./ask.ts')).ask(words, options))

program
  .command('list')
  .description('list the models on this machine')
  .addOption(folder)
  .option('--catalogue', 'list the well-known models that can be pulled')
  .action(async (options) => (await import('./list.ts')).list(options))

program
  .command('pull')
  .description('download a model from Hugging Face')
  .argument('<model>', 'a name of `oriel list --catalogue`, owner/repo, either with :QUANT, a URL, or a GGUF file')
  .addOption(folder)
  .option('--anyway', 'download it even if this version cannot run it')
  .action(async (name: string, options) => (await import('./pull.ts')).pullModel(name, options))

program
  .command('show')
  .description('describe a model and its memory requirements')
  .argument('<model>', 'a name that `oriel list` shows, or the path of a GGUF file')
  .addOption(folder)
  .addOption(projector)
  .action(async (name: string, options) => (await import('./show.ts')).show(name, options))

program
  .command('rm')
  .description('remove a downloaded model')
  .argument('<model>', 'a name that `oriel list` shows')
  .addOption(folder)
  .option('--yes', 'do not ask for confirmation')
  .action(async (name: string, options) => (await import('./rm.ts')).remove(name, options))

// The reader of a pipe, such as `head`, has closed it: exit as after SIGPIPE, without a message.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(141)
  throw error
})

try {
  await program.parseAsync()
} catch (error) {
  const message =
    error instanceof OrielError
      ? (await import('./advice.ts')).advised(error)
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error)
  process.stderr.write(`oriel: ${message}\n`)
  process.exit(1)
}
