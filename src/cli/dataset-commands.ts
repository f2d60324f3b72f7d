import { type Command, Option } from 'commander'
import { wholeNumber } from './values.ts'

const json = new Option('--json', 'print JSON')
const server = new Option('--server <url>', 'the server (default: ORIEL_HOST and ORIEL_PORT, http://127.0.0.1:8080)')
const account = new Option('--account <name>', 'whose it is (default local)')
const tokens = wholeNumber(1, Number.POSITIVE_INFINITY, 'It must be a whole number of at least 1.')
const datasetHelp = 'its id, or accounts/<account>/datasets/<id>'
const fileHelp = 'a JSONL file of examples; its pictures may be files below its folder'

/** The commands for datasets, which a running server has. */
export function addDatasetCommands(program: Command): void {
  const group = program
    .command('dataset')
    .description('check datasets of examples, and send them to a running server')
    .helpCommand(false)

  group
    .command('validate')
    .description('check the lines of a dataset; it needs no server')
    .argument('<file>', fileHelp)
    .option('--base <model>', 'also count tokens as this model reads it')
    .option(
      '--max-context-length <tokens>',
      "tokens of an example; longer ones are cut (default: the model's, to 4096)",
      tokens,
    )
    .addOption(json)
    .action(async (file: string, options) => (await import('./datasets.ts')).validateDataset(file, options))

  group
    .command('create')
    .description('send a dataset to a running server, with its pictures')
    .argument('<file>', fileHelp)
    .option('--id <id>', 'its id (default: by the name of the file)')
    .option('--display-name <text>', 'a title for people')
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (file: string, options) => (await import('./datasets.ts')).createDataset(file, options))

  group
    .command('list')
    .alias('ls')
    .description('list the datasets of a running server')
    .addOption(new Option('--account <name>', 'only those of this account'))
    .addOption(server)
    .addOption(json)
    .action(async (options) => (await import('./datasets.ts')).listDatasets(options))

  group
    .command('show')
    .description('describe a dataset, and what is wrong with its lines')
    .argument('<dataset>', datasetHelp)
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (id: string, options) => (await import('./datasets.ts')).showDataset(id, options))

  group
    .command('download')
    .description('get the file of a dataset')
    .argument('<dataset>', datasetHelp)
    .option('--output <file>', 'where it is written; - for stdout (default: its name, here)')
    .addOption(account)
    .addOption(server)
    .action(async (id: string, options) => (await import('./datasets.ts')).downloadDataset(id, options))

  group
    .command('delete')
    .description('delete a dataset with its file')
    .argument('<dataset>', datasetHelp)
    .option('--yes', 'do not ask for confirmation')
    .addOption(account)
    .addOption(server)
    .action(async (id: string, options) => (await import('./datasets.ts')).deleteDataset(id, options))
}
