import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { OrielError } from '../errors.ts'
import { nearest } from '../nearest.ts'

/** What people call commands after other programs. */
const habits: Readonly<Record<string, string>> = {
  chat: 'ask',
  check: 'doctor',
  delete: 'rm',
  describe: 'ask',
  download: 'pull',
  images: 'list',
  info: 'show',
  inspect: 'show',
  install: 'pull',
  kill: 'stop',
  models: 'list',
  remove: 'rm',
  start: 'serve',
  status: 'ps',
  uninstall: 'rm',
  unload: 'stop',
  up: 'serve',
}

/** The error for a word that is no command, with the command that was probably meant. */
export function otherwise(word: string, program: Command): OrielError {
  const names = program.commands.flatMap((command) => [command.name(), ...command.aliases()])
  const command = names.includes(word) ? word : undefined
  if (command !== undefined)
    return new OrielError(
      'invalid',
      `The command comes first: oriel ${command}. \`oriel help ${command}\` describes it.`,
    )
  const habit = habits[word]
  const meant = habit !== undefined && names.includes(habit) ? habit : nearest(word, names)
  const hint =
    existsSync(word) || /\s/.test(word)
      ? `To ask about images: oriel ask ${existsSync(word) ? `${word} "What is in this image?"` : `photo.jpg ${JSON.stringify(word)}`}`
      : meant === undefined
        ? '`oriel help` lists the commands.'
        : `Did you mean ${meant}?`
  return new OrielError('invalid', `There is no command ${JSON.stringify(word)}. ${hint}`)
}
