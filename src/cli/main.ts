import { Command, InvalidArgumentError, Option } from 'commander'
import { OrielError } from '../errors.ts'
import { version } from '../version.ts'

const port = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 65535)
    throw new InvalidArgumentError('A port is a whole number from 0 to 65535.')
  return value
}

const count = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It is a whole number from 1.')
  return value
}

const program = new Command('oriel').description('Ask a vision-language model about pictures.').version(version)

const model = new Option('--model <name>', 'the model: a name that `oriel list` shows, or the path of a GGUF file')
const folder = new Option('--models-dir <folder>', 'a folder of GGUF files, instead of those of ORIEL_MODELS_DIR')
const projector = new Option('--mmproj <file>', "the model's vision file, where it does not lie beside it")

const models = new Option(
  '--model <name...>',
  'a model to load at the start, or several; others are loaded when requests name them',
)
const gpu = new Option('--gpu <way>', 'what computes beside the processor (default auto)').choices([
  'auto',
  'off',
  'cuda',
  'vulkan',
  'metal',
])

program
  .command('serve', { isDefault: true })
  .description('answer over HTTP')
  .addOption(models)
  .addOption(projector)
  .addOption(folder)
  .addOption(gpu)
  .option(
    '--memory-budget <size>',
    'memory that all models together may take: 8GB (default: four fifths of what is free)',
  )
  .option('--host <address>', 'address to listen on (default 127.0.0.1)')
  .option('--port <number>', 'port to listen on (default 8080)', port)
  .option('--strict', 'refuse parameters that mean nothing here, instead of naming them in a header')
  .action(async (options) => (await import('./serve.ts')).serve(options))

program
  .command('ask')
  .description('ask one question, without a server')
  .argument('<image...>', 'pictures and PDFs (files or URLs), and the question last')
  .addOption(model)
  .addOption(projector)
  .addOption(folder)
  .addOption(gpu)
  .option('--system <text>', 'a system prompt: "Answer in one word."')
  .option('--pages <choice>', 'pages of a PDF or frames of an animation: 1-3,7 or all, or how many, evenly: 8')
  .option('--batch <number>', 'pictures in one question (default 30); a longer document is asked about in parts', count)
  .addHelpText(
    'after',
    `
A PDF is its pages, each of them a picture:
  oriel ask invoice.pdf "What is the total?"
  oriel ask --pages 1-3,7 report.pdf "Summarise this."
A document of more pages than one question may have is asked about 30 at a time. The answer about each part is shown
under its pages, and the last one is what the model makes of all of them.`,
  )
  .action(async (words: string[], options) => (await import('./ask.ts')).ask(words, options))

program
  .command('list')
  .description('show the models that are here')
  .addOption(folder)
  .option('--catalogue', 'show the well-known models that can be pulled instead')
  .action(async (options) => (await import('./list.ts')).list(options))

program
  .command('pull')
  .description('fetch a model from Hugging Face')
  .argument('<model>', 'a name of `oriel list --catalogue`, owner/repo, either with :QUANT, a URL, or a GGUF file')
  .addOption(folder)
  .option('--anyway', 'fetch it although this version does not run it')
  .action(async (name: string, options) => (await import('./pull.ts')).pullModel(name, options))

program
  .command('show')
  .description('tell what a model is, and what it needs')
  .argument('<model>', 'a name that `oriel list` shows, or the path of a GGUF file')
  .addOption(folder)
  .addOption(projector)
  .action(async (name: string, options) => (await import('./show.ts')).show(name, options))

program
  .command('rm')
  .description('remove a model that was pulled')
  .argument('<model>', 'a name that `oriel list` shows')
  .addOption(folder)
  .option('--yes', 'do not ask')
  .action(async (name: string, options) => (await import('./rm.ts')).remove(name, options))

// Whoever reads has seen enough, as `head` does: an end as by SIGPIPE, and nothing to tell.
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
