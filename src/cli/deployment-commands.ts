import { type Command, Option } from 'commander'
import { wholeNumber } from './values.ts'

const json = new Option('--json', 'print JSON')
const server = new Option('--server <url>', 'the server (default: ORIEL_HOST and ORIEL_PORT, http://127.0.0.1:8080)')
const account = new Option('--account <name>', 'whose it is (default local)')
const wait = new Option('--wait', 'wait until its replicas are ready')
const replicas = wholeNumber(0, Number.POSITIVE_INFINITY, 'It must be a whole number.')
const requests = wholeNumber(1, Number.POSITIVE_INFINITY, 'It must be a whole number of at least 1.')
const deploymentHelp = 'its id, or accounts/<account>/deployments/<id>'

/** The commands for deployments, which a running server has. */
export function addDeploymentCommands(program: Command): void {
  program
    .command('deploy')
    .description('keep replicas of a model on a running server, or change how many')
    .argument('<model>', 'a name that `oriel list` shows')
    .option('--deployment-id <id>', 'its id (default: that of the model)')
    .option('--min-replica-count <number>', 'replicas that stay in memory (default 0)', replicas)
    .option('--max-replica-count <number>', 'replicas that it may have (default 1)', replicas)
    .option('--scale-up-window <duration>', 'how long load is higher before a replica starts (default 30s)')
    .option('--scale-down-window <duration>', 'how long load is lower before one stops (default 10m)')
    .option('--scale-to-zero-window <duration>', 'time without requests before the last one stops (default 1h)')
    .option('--concurrent-requests <number>', 'requests for each replica at which another one starts', requests)
    .option('--display-name <text>', 'a title for people')
    .option('--description <text>', 'a description for people')
    .option('--validate-only', 'only check whether it could be made')
    .addOption(wait)
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (model: string, options) => (await import('./deployments.ts')).deploy(model, options))

  program
    .command('scale')
    .description('have so many replicas of a deployment now')
    .argument('<deployment>', deploymentHelp)
    .argument('<replicas>', 'how many; 0 frees their memory until a request comes', replicas)
    .addOption(wait)
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (id: string, count: number, options) => (await import('./deployments.ts')).scale(id, count, options))

  const group = program.command('deployments').description('list, describe and delete deployments').helpCommand(false)

  group
    .command('list')
    .alias('ls')
    .description('list the deployments of a running server')
    .option('--show-deleted', 'also those that can be restored')
    .addOption(new Option('--account <name>', 'only those of this account'))
    .addOption(server)
    .addOption(json)
    .action(async (options) => (await import('./deployments.ts')).listDeployments(options))

  group
    .command('get')
    .description('describe a deployment')
    .argument('<deployment>', deploymentHelp)
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (id: string, options) => (await import('./deployments.ts')).showDeployment(id, options))

  group
    .command('delete')
    .alias('rm')
    .description('delete a deployment, which can be restored for 7 days')
    .argument('<deployment>', deploymentHelp)
    .option('--hard', 'for good')
    .option('--ignore-checks', 'also while requests use it, which are answered to their end')
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (id: string, options) => (await import('./deployments.ts')).deleteDeployment(id, options))

  group
    .command('undelete')
    .description('restore a deleted deployment')
    .argument('<deployment>', deploymentHelp)
    .addOption(wait)
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (id: string, options) => (await import('./deployments.ts')).undeleteDeployment(id, options))

  const adapters = program
    .command('adapters')
    .description('list the adapters of a running server, and put them on deployments')
    .helpCommand(false)

  adapters
    .command('list')
    .alias('ls')
    .description('list adapters, and the deployments that they are on')
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (options) => (await import('./adapters.ts')).listAdapters(options))

  adapters
    .command('load')
    .description('put an adapter on a deployment')
    .argument('<adapter>', 'a name that `oriel adapters list` shows')
    .argument('<deployment>', deploymentHelp)
    .option('--default', 'its name alone means it on this deployment')
    .option('--replace-merged-addon', "the deployment's name alone means it, and other adapters leave")
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (name: string, id: string, options) => (await import('./adapters.ts')).loadAdapter(name, id, options))

  adapters
    .command('unload')
    .description('take an adapter off a deployment')
    .argument('<adapter>', 'a name that `oriel adapters list` shows')
    .argument('<deployment>', deploymentHelp)
    .addOption(account)
    .addOption(server)
    .addOption(json)
    .action(async (name: string, id: string, options) =>
      (await import('./adapters.ts')).unloadAdapter(name, id, options),
    )
}
