import type { Command, Option } from 'commander'
import { OrielError } from '../errors.ts'

/** Each shell asks `oriel complete` with the line up to the cursor; without an answer it completes files. */
const scripts: Readonly<Record<string, string>> = {
  bash: `_oriel() {
  local line="\${COMP_LINE:0:COMP_POINT}" word before candidate
  word="\${line##*[[:space:]]}"
  # bash completes what follows the last colon, and names of models have one.
  before="\${word%"\${word##*[:=]}"}"
  COMPREPLY=()
  while IFS= read -r candidate; do
    COMPREPLY+=("\${candidate#"$before"}")
  done < <(oriel complete "$line" 2>/dev/null)
}
complete -o bashdefault -o default -F _oriel oriel
`,
  zsh: `#compdef oriel
_oriel() {
  local -a found
  found=("\${(@f)$(oriel complete "\${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
if [[ "\${funcstack[1]}" == _oriel ]]; then _oriel "$@"; else compdef _oriel oriel; fi
`,
  fish: `function __oriel_complete
  set -l found (oriel complete (commandline -cp | string collect) 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c oriel -f -a '(__oriel_complete)'
`,
}

/** The completion of a shell, to be loaded by it. @throws OrielError for a shell that is not supported */
export function completionOf(shell: string): string {
  const script = scripts[shell]
  if (script === undefined)
    throw new OrielError('invalid', `There is no completion for ${shell}, only for ${Object.keys(scripts).join(', ')}.`)
  return script
}

/**
 * What the last word of a line may become. Nothing if it is a file.
 * @param line from the name of the program up to the cursor
 */
export async function candidatesFor(line: string, program: Command): Promise<string[]> {
  const words = line.trimStart().split(/\s+/).slice(1)
  const begun = words.pop() ?? ''
  const begin = words.findIndex((word) => nested(program, word) !== undefined)
  const called = begin < 0 ? [] : calledBy(words.slice(begin), program)
  const command = called.at(-1)
  const fitting = (candidates: readonly string[]): string[] =>
    [...new Set(candidates)].filter((candidate) => candidate.startsWith(begun))
  if (command === undefined) {
    const flags = [...program.options, ...(defaultOf(program)?.options ?? [])]
    return fitting(begun.startsWith('-') ? flagsOf(flags) : visible(program).map((one) => one.name()))
  }
  const option = command.options.find(({ long }) => long === words.at(-1))
  if (option !== undefined && (option.required || option.optional)) return fitting(await valuesOf(option))
  if (begun.startsWith('-')) return fitting([...flagsOf(command.options), '--help'])
  if (command.commands.length > 0) return fitting(visible(command).map((one) => one.name()))
  const given = words.slice(begin + called.length).filter((word) => !word.startsWith('-'))
  const argument = command.registeredArguments[given.length]?.name()
  if (argument === 'shell') return fitting(Object.keys(scripts))
  if (argument === 'command') return fitting(visible(program).map((one) => one.name()))
  if (argument === 'model') return fitting(await modelsFor(command.name()))
  if (argument === 'key') return fitting(await (await import('./keys.ts')).keyIds())
  if (argument === 'account') return fitting(await accountNames())
  if (argument === 'dataset') return fitting(await (await import('./datasets.ts')).datasetIds())
  if (argument === 'deployment') return fitting(await (await import('./deployments.ts')).deploymentIds())
  return []
}

/** Hidden commands are for programs. */
const visible = (program: Command): Command[] => program.createHelp().visibleCommands(program)
const nested = (parent: Command, word: string): Command | undefined =>
  visible(parent).find((one) => namesOf(one).includes(word))
/** The command that words begin with, and those within it that follow: `keys`, `create`. */
function calledBy([word = '', ...rest]: readonly string[], parent: Command): Command[] {
  const command = nested(parent, word)
  return command === undefined ? [] : [command, ...calledBy(rest, command)]
}
const namesOf = (command: Command): string[] => [command.name(), ...command.aliases()]
const defaultOf = (program: Command): Command | undefined => program.commands.find((one) => one.name() === 'serve')
const flagsOf = (options: readonly Option[]): string[] => options.flatMap(({ long }) => long ?? [])

async function valuesOf({ long, argChoices }: Option): Promise<string[]> {
  if (long === '--account') return accountNames()
  return argChoices ?? (long === '--model' || long === '--base' ? modelsFor('ask') : [])
}

const accountNames = async (): Promise<string[]> => (await import('./accounts.ts')).accountNames()

/** Names of models that a command takes. */
async function modelsFor(command: string): Promise<string[]> {
  if (command === 'stop') return (await import('./ps.ts')).loadedNames()
  const { catalogue } = await import('../models/index.ts')
  const known = catalogue.map(({ id }) => id)
  if (command === 'pull') return known
  const { models } = await (await import('./settings.ts')).libraryOf({}).list()
  const here = models.flatMap(({ id, aliases }) => [id, ...aliases.filter((alias) => !alias.includes('/'))])
  return ['run', 'show'].includes(command) ? [...here, ...known] : here
}
