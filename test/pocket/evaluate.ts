/**
 * `npm run pocket:eval [-- URL]`: measures the share of held-out questions that the built-in model answers correctly, by skill,
 * through the HTTP API of a server of its own or of the one at URL. The table goes into the model's card.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { startServer } from '../support/server.ts'
import { askAll, type Outcome, readHeldOut } from './held-out.ts'

const card = new URL('../../models/pocket/README.md', import.meta.url)
const begin = '<!-- accuracy: written by npm run pocket:eval -->'
const end = '<!-- end of accuracy -->'

/** The accuracy that each skill should have. */
const bars: Record<string, number> = {
  colours: 0.98,
  shapes: 0.98,
  'counts 1-9': 0.95,
  places: 0.95,
  'yes/no': 0.97,
  captions: 0.9,
  'printed words': 0.92,
  'picture order': 0.95,
  'system prompt': 0.95,
  'refusals: photographs': 0.95,
  'refusals: not in the picture': 0.95,
}

const url = process.argv[2]
const server = url === undefined ? await startServer() : undefined
const outcomes = await askAll(server?.url ?? url ?? '', readHeldOut())
await server?.close()
const table = tableOf(outcomes)
process.stdout.write(`${table}\n`)
const text = readFileSync(card, 'utf8')
const [before, after] = [text.indexOf(begin), text.indexOf(end)]
if (before < 0 || after < before) throw new Error(`the card lacks the lines ${begin} and ${end}`)
writeFileSync(card, `${text.slice(0, before)}${begin}\n\n${table}\n\n${text.slice(after)}`)

/** The table in Markdown. The accuracy in PyTorch comes from pocket/evaluate.py. */
function tableOf(outcomes: readonly Outcome[]): string {
  const pytorch: Record<string, number> = JSON.parse(readFileSync(new URL('./pytorch.json', import.meta.url), 'utf8'))
  const skills = [...new Set(readHeldOut().cases.map(({ skill }) => skill))]
  const share = (value: number | undefined) => (value === undefined ? '' : `${(100 * value).toFixed(1)} %`)
  const isRight = ({ said, answer }: Outcome) => said === answer
  const rows = skills.map((skill) => {
    const asked = outcomes.filter((one) => one.skill === skill)
    const right = asked.filter(isRight)
    return [skill, `${asked.length}`, share(right.length / asked.length), share(pytorch[skill]), share(bars[skill])]
  })
  const all = share(outcomes.filter(isRight).length / outcomes.length)
  const torch = outcomes.reduce((sum, { skill }) => sum + (pytorch[skill] ?? 0), 0) / outcomes.length
  rows.push(['all', `${outcomes.length}`, all, share(torch), ''])
  const heads = ['skill', 'questions', 'right through the API', 'PyTorch', 'aim']
  return [heads, ['---', '---:', '---:', '---:', '---:'], ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
