import { type Command, InvalidArgumentError, Option } from 'commander'
import { wholeNumber } from './values.ts'

const count = wholeNumber(1, Number.POSITIVE_INFINITY, 'It must be a whole number of at least 1.')
const rank = wholeNumber(4, 64, 'A rank is a whole number from 4 to 64.')

/** The command that trains adapters. */
export function addTuneCommand(program: Command): void {
  program
    .command('tune')
    .description('train an adapter on a dataset')
    .argument('[file]', 'a JSONL file of examples; its pictures may be files below its folder')
    .option('--base <model>', 'the model to train, a name that `oriel list` shows')
    .option('--warm-start <adapter>', 'instead: an adapter to go on from')
    .option('--name <name>', 'the name of the adapter (default: that of the file)')
    .option('--evaluation <file>', 'examples whose loss is told from time to time')
    .option('--no-carve-out', 'without such a file, train on all examples and keep none for it')
    .option('--epochs <number>', 'how often each example is trained on', positive)
    .option('--learning-rate <number>', 'the highest, after the warm-up', positive)
    .option('--rank <number>', 'the rank of the adapter, 4 to 64', rank)
    .option('--batch <number>', 'examples of a step', count)
    .option('--max-context-length <tokens>', 'tokens of an example; longer ones are cut', count)
    .option('--projector', 'train the projector, too: what the model makes of what it sees')
    .option('--early-stop', 'end when the evaluation loss falls no more')
    .addOption(new Option('--trainer <trainer>', 'what trains (default built-in)').choices(['built-in', 'external']))
    .option('--resume <job>', 'go on with a job that was stopped, or that failed')
    .addOption(new Option('--models-dir <folder>', 'a folder of GGUF files').argParser((given) => [given]))
    .option('--account <name>', 'whose it is (default local)')
    .addOption(new Option('--server <url>', 'train on this server (default: the one that runs here, if one does)'))
    .option('--local', 'train in this process, even if a server runs here')
    .addOption(new Option('--json', 'print JSON when it is done'))
    .addHelpText('after', help)
    .action(async (file: string | undefined, options) => (await import('./tune.ts')).tune(file, options))
}

function positive(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0) || !Number.isFinite(value))
    throw new InvalidArgumentError('It must be a number above 0.')
  return value
}

const help = `
  oriel tune parts.jsonl --base pocket
  oriel tune parts.jsonl --base pocket --name parts --epochs 5
Ctrl-C stops it with a checkpoint, and it says how to go on. A server that runs here goes on with its jobs by itself.`
