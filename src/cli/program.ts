import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { packageFile } from '../places.ts'
import { version } from '../version.ts'
import { addAccountCommands } from './account-commands.ts'
import { addDatasetCommands } from './dataset-commands.ts'
import { addDeploymentCommands } from './deployment-commands.ts'
import { addTuneCommand } from './tune-command.ts'
import { otherwise } from './unknown-words.ts'
import { repeated, temperature, wholeNumber } from './values.ts'

const port = wholeNumber(0, 65535, 'A port is a whole number from 0 to 65535.')
const count = wholeNumber(1, Number.POSITIVE_INFINITY, 'It must be a whole number of at least 1.')

const model = new Option('--model <name>', 'the model: a name that `oriel list` shows, or the path of a GGUF file')
const folder = new Option(
  '--models-dir <folder>',
  'a folder of GGUF files, instead of those of ORIEL_MODELS_DIR',
).argParser((given) => [given])
const projector = new Option('--mmproj <file>', "the model's vision file, if it is not in the same folder")
const json = new Option('--json', 'print JSON')

const server = new Option('--server <url>', 'the server (default: ORIEL_HOST and ORIEL_PORT, http://127.0.0.1:8080)')

const gpu = new Option('--gpu <interface>', 'the GPU interface to use (default auto)').choices([
  'auto',
  'off',
  'cuda',
  'vulkan',
  'metal',
])

/** Options of the commands that ask. */
const asking = (command: Command): Command =>
  command
    .addOption(projector)
    .addOption(folder)
    .addOption(gpu)
    .addOption(new Option('--server <url>', 'ask this server (default: the one that runs here, if one does)'))
    .option('--local', 'do not ask a server, even if one runs here')
    .option('--system <text>', 'a system prompt: "Answer in one word."')
    .addOption(
      new Option('--detail <choice>', 'the resolution at which images and frames are read (default auto)').choices([
        'low',
        'auto',
        'high',
      ]),
    )
    .option('--temperature <number>', "0 for the likeliest answer (default: the model's own)", temperature)
    .option(
      '--pages <choice>',
      'pages of a PDF or frames of an animation: 1-3,7 or all; 8: that many of them, spread evenly; 8-8: page 8 alone',
    )
    .option('--batch <number>', 'images in one question (default 30); longer documents are asked about in parts', count)
    .option('--each', 'ask about each file by itself: one answer for each')
    .option('--schema <file>', 'a JSON Schema that the answer must match')
    .addOption(new Option('--json', 'print JSON: the answer, its tokens and times; with --each one line for each file'))

/** What a line without the name of a command means, also one with a name that does not exist. */
const defaultCommand = 'serve'

/** The commands of `oriel`. Each loads its code when it is called. */
export function createProgram(): Command {
  const program = new Command('oriel')
    .description('Ask vision-language models about images.')
    .version(version, '-v, --version', 'print the version')
    .helpCommand(false)
    .hook('preAction', async (_, command) => {
      // The others start Oriel, which says it, or look for it.
      const [name = ''] = wordsOf(command)
      if (!['list', 'pull', 'rm', 'show', 'keys', 'accounts', 'usage', 'purge', 'erase'].includes(name)) return
      const { misspeltVariables } = await import('../load-config.ts')
      for (const sentence of misspeltVariables()) process.stderr.write(`${sentence}\n`)
    })

  program
    .command(defaultCommand, { isDefault: true })
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
    .option('--config <file>', 'a JSON or TOML file of settings')
    .option('--insecure', 'let other machines use the server without API keys')
    .option('--strict', 'refuse unknown parameters instead of listing them in a response header')
    .allowExcessArguments()
    .addHelpText('after', serveHelp)
    .action(async (options, { args: [word] }: Command) => {
      // `serve` is the default, so every unknown word arrives here.
      if (word !== undefined) throw otherwise(word, program)
      await (await import('./serve.ts')).serve(options)
    })

  asking(
    program
      .command('ask')
      .description('ask about images, videos and audio, or chat about them')
      .argument(
        '[words...]',
        'images, PDFs, videos, audio, folders, patterns, URLs, - for stdin; and the question, in quotes',
      )
      .addOption(model),
  )
    .addHelpText('after', askHelp)
    .action(async (words: string[], options) => (await import('./ask.ts')).ask(words, options))

  asking(
    program
      .command('run')
      .description('download a model if necessary, and ask it or chat with it')
      .argument('<model>', 'a name of `oriel list` or `oriel list --catalogue`, or as for `oriel pull`')
      .argument('[words...]', 'as for `oriel ask`')
      .option('--yes', 'download without a question'),
  ).action(async (name: string, words: string[], options) => (await import('./run.ts')).run(name, words, options))

  program
    .command('list')
    .alias('ls')
    .description('list the models on this machine, and whether they fit')
    .addOption(folder)
    .option('--catalogue', 'list the well-known models that can be pulled')
    .addOption(json)
    .action(async (options) => (await import('./list.ts')).list(options))

  program
    .command('pull')
    .description('download a model from Hugging Face')
    .argument('<model>', 'a name of `oriel list --catalogue`, owner/repo, either with :QUANT, a URL, or a GGUF file')
    .addOption(folder)
    .option('--anyway', 'download it even if this version cannot run it')
    .action(async (name: string, options) => {
      await (await import('./pull.ts')).pullModel(name, options)
    })

  program
    .command('show')
    .description('describe a model and its memory requirements')
    .argument('<model>', 'a name that `oriel list` shows, or the path of a GGUF file')
    .addOption(folder)
    .addOption(projector)
    .addOption(json)
    .action(async (name: string, options) => (await import('./show.ts')).show(name, options))

  program
    .command('rm')
    .description('remove a downloaded model')
    .argument('<model>', 'a name that `oriel list` shows')
    .addOption(folder)
    .option('--yes', 'do not ask for confirmation')
    .action(async (name: string, options) => (await import('./rm.ts')).remove(name, options))

  program
    .command('eval')
    .description('ask models the questions of a dataset, and compare their answers with the wanted ones')
    .argument('<data>', 'a JSONL file of chats, each with the wanted answer at its end, as for `oriel tune`')
    .requiredOption('--model <name>', 'a model, an adapter or an upstream model; may be repeated', repeated)
    .option(
      '--score <score>',
      'exact, contains, json-field:NAME or judge:MODEL; may be repeated (default exact)',
      repeated,
    )
    .option('--max-tokens <number>', 'tokens of an answer at most (default 1024)', count)
    .option('--temperature <number>', '0 for the likeliest answers (default 0)', temperature)
    .addOption(folder)
    .addOption(gpu)
    .addOption(new Option('--server <url>', 'ask this server (default: the one that runs here, if one does)'))
    .option('--local', 'do not ask a server, even if one runs here')
    .option('--json', 'print JSON: a line for each example, and one with the sums')
    .action(async (file: string, options) => (await import('./eval.ts')).evaluateModels(file, options))

  program
    .command('merge')
    .description('write a model with an adapter in it as a GGUF file')
    .argument('<model>', 'a name that `oriel list` shows, or the path of a GGUF file')
    .argument('<adapter>', 'a name that `oriel list` shows, or the path of its folder or GGUF file')
    .requiredOption('-o, --output <file>', 'the GGUF file to write; mmproj-<file> beside it has the encoders')
    .addOption(
      new Option(
        '--type <type>',
        'the type of the matrices that the adapter changes (default: as the model has them)',
      ).choices(['f32', 'f16', 'bf16']),
    )
    .addOption(folder)
    .addOption(projector)
    .addOption(json)
    .action(async (name: string, adapter: string, options) =>
      (await import('./merge.ts')).mergeModel(name, adapter, options),
    )

  program
    .command('ps')
    .description('list the models that a running server has loaded')
    .addOption(server)
    .addOption(json)
    .action(async (options) => (await import('./ps.ts')).ps(options))

  program
    .command('stop')
    .description('unload a model from a running server')
    .argument('<model>', 'a name that `oriel ps` shows')
    .addOption(server)
    .action(async (name: string, options) => (await import('./ps.ts')).stop(name, options))

  addDeploymentCommands(program)
  addDatasetCommands(program)
  addTuneCommand(program)
  addAccountCommands(program)

  program
    .command('doctor')
    .description('check this machine, and say how to cure what is wrong')
    .addOption(folder)
    .addOption(gpu)
    .addOption(json)
    .action(async (options) => (await import('./doctor.ts')).doctor(options))

  program
    .command('completion')
    .description('print the completion of a shell: bash, zsh or fish')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText('after', completionHelp)
    .action(async (shell: string) => {
      process.stdout.write((await import('./completion.ts')).completionOf(shell))
    })

  program
    .command('complete', { hidden: true })
    .argument('<line>', 'the line up to the cursor')
    .action(async (line: string) => {
      const candidates = await (await import('./completion.ts')).candidatesFor(line, program)
      process.stdout.write(candidates.map((candidate) => `${candidate}\n`).join(''))
    })

  program
    .command('version')
    .description('print the version')
    .action(() => void process.stdout.write(`${version}\n`))

  program
    .command('help')
    .description('describe a command')
    .argument('[command...]')
    .action((names: string[]) => {
      let described: Command = program
      for (const name of names) {
        const found = described.commands.find((command) => [command.name(), ...command.aliases()].includes(name))
        if (found === undefined) throw otherwise(name, described)
        described = found
      }
      described.outputHelp()
    })

  for (const command of withNested(program))
    command.configureOutput({
      outputError: (text, write) => {
        const stray = command.name() === defaultCommand ? strayWord(program, command) : undefined
        write(`oriel: ${stray === undefined ? complaint(text, command) : otherwise(stray, program).message}\n`)
      },
    })
  return program
}

const withNested = (command: Command): Command[] => [command, ...command.commands.flatMap(withNested)]

/** What a person writes for a command, without `oriel`. */
const wordsOf = (command: Command): string[] =>
  command.parent === null ? [] : [...wordsOf(command.parent), command.name()]

/** A word that should have been the name of a command. Its flags belong to that, and those of `serve` are not meant. */
const strayWord = (program: Command, serve: Command): string | undefined =>
  [program.args[0], serve.args[0]].find(
    (word) => word !== undefined && word !== defaultCommand && !word.startsWith('-'),
  )

/** What commander says about the words of a command, as sentences with a cure. */
function complaint(text: string, command: Command): string {
  const [what = '', ...hints] = text
    .replace(/^error: /, '')
    .trim()
    .split('\n')
  const sentence = `${what.charAt(0).toUpperCase()}${what.slice(1).replace(/\.$/, '')}.`
  const hint = hints.map((line) => line.replace(/^\((.*)\)$/, '$1'))
  return [sentence, ...hint, `\`${['oriel help', ...wordsOf(command)].join(' ')}\` describes the command.`].join(' ')
}

const serveHelp = `
Every setting can be in the file of --config, and most can be environment
variables, such as ORIEL_PORT=8081. A flag wins over a variable, and a variable
over the file. All of them are described in this file:
  ${fileURLToPath(packageFile('oriel.schema.json'))}`

const askHelp = `
What is a file, a folder or a URL is asked about; the other word is the question. The order does not matter:
  oriel ask photo.jpg "What is in this image?"
  oriel ask "What differs?" before.png after.png
  oriel ask --each --json 'scans/*.png' "What is the total?"
  cat photo.jpg | oriel ask - "What is in this image?"
  oriel ask clip.mp4 "What happens?"
  oriel ask note.ogg "What does she ask for?"
  oriel ask photo.jpg                              without a question: a chat
Each page of a PDF is an image:
  oriel ask --pages 1-3,7 report.pdf "Summarise this."
A document with more than 30 pages is asked about in parts. The answer to each part is printed under its page numbers,
followed by an answer for the whole document.
If a server runs here, it answers: its models stay loaded, so answers begin at once.`

const completionHelp = `
  bash: oriel completion bash > ~/.local/share/bash-completion/completions/oriel
  zsh:  oriel completion zsh > "\${fpath[1]}/_oriel"
  fish: oriel completion fish > ~/.config/fish/completions/oriel.fish`
