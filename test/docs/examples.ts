import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { root } from './pages.ts'

const run = promisify(execFile)

export interface Example {
  language: string
  code: string
}

/** The examples of a text that can be run. */
export const examplesOf = (text: string): (Example & { title: string })[] =>
  [...text.matchAll(/^```(bash|js)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = ''], index) => ({
    title: `${index + 1}: ${code.split('\n').find((line) => /curl|create|stream\(/.test(line)) ?? ''}`,
    language,
    code,
  }))

/** What an example prints that asks the server at `url`. */
export async function outputOf({ language, code }: Example, url: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const here = code.replaceAll('http://127.0.0.1:8080', url)
  const curl = 'set -e; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
  const [program, args] =
    language === 'bash' ? ['bash', ['-c', curl + here]] : ['node', ['--input-type=module', '--eval', here]]
  return (await run(program, args, { cwd: root, env: { ...process.env, ...env } })).stdout.trim()
}
