/**
 * `npm run pocket:eval [-- URL]`: measures the share of held-out questions that the built-in model answers correctly, by skill,
 * through the HTTP API of a server of its own or of the one at URL, and asks the questions written by hand. The tables go into
 * the model's card.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { startServer } from '../support/server.ts'
import { askByHand, type Judged } from './by-hand.ts'
import { askAll, declines, isRight, namesCommand, type Outcome, readHeldOut } from './held-out.ts'

const card = new URL('../../models/pocket/README.md', import.meta.url)

/** The accuracy that each skill should have. */
const bars: Record<string, number> = {
  colours: 0.98,
  shapes: 0.98,
  'counts 1-9': 0.95,
  places: 0.95,
  'yes/no': 0.97,
  captions: 0.9,
  relations: 0.9,
  'counts of a kind': 0.9,
  'printed words': 0.92,
  'charts: highest and largest': 0.9,
  'charts: how many': 0.9,
  'charts: value': 0.9,
  'picture order': 0.95,
  'system prompt': 0.95,
  'refusals: photographs': 0.95,
  'refusals: not in the picture': 0.95,
  'reads words': 0.92,
  'reads lines': 0.92,
  'reads digits and prices': 0.92,
  'reads signs': 0.92,
  'relations, any wording': 0.9,
  'counts of a kind, any wording': 0.9,
  'charts, any wording': 0.9,
  'out of its world': 0.97,
  'the sample picture': 1,
  'README and docs': 1,
}

const url = process.argv[2]
const server = url === undefined ? await startServer() : undefined
const at = server?.url ?? url ?? ''
const outcomes: Outcome[] = []
for (const file of ['held-out.json', 'held-out-wide.json']) outcomes.push(...(await askAll(at, readHeldOut(file))))
const byHand = await askByHand(at)
await server?.close()

let text = readFileSync(card, 'utf8')
for (const [name, table] of [
  ['accuracy', `${skillTable(outcomes)}\n\n${calibration(outcomes)}`],
  ['questions by hand', handTable(byHand)],
] as const) {
  process.stdout.write(`${table}\n\n`)
  text = put(text, name, table)
}
writeFileSync(card, text)

/** The text with a table between the marks of its name. */
function put(text: string, name: string, table: string): string {
  const [begin, end] = [`<!-- ${name}: written by npm run pocket:eval -->`, `<!-- end of ${name} -->`]
  const [before, after] = [text.indexOf(begin), text.indexOf(end)]
  if (before < 0 || after < before) throw new Error(`the card lacks the lines ${begin} and ${end}`)
  return `${text.slice(0, before)}${begin}\n\n${table}\n\n${text.slice(after)}`
}

/** The accuracy by skill. That in PyTorch comes from pocket/evaluate.py. */
function skillTable(outcomes: readonly Outcome[]): string {
  const pytorch: Record<string, number> = JSON.parse(readFileSync(new URL('./pytorch.json', import.meta.url), 'utf8'))
  const skills = ['held-out.json', 'held-out-wide.json'].flatMap((file) => [
    ...new Set(readHeldOut(file).cases.map(({ skill }) => skill)),
  ])
  const rows = skills.map((skill) => {
    const asked = outcomes.filter((one) => one.skill === skill)
    const right = asked.filter(isRight)
    return [skill, `${asked.length}`, share(right.length / asked.length), share(pytorch[skill]), share(bars[skill])]
  })
  rows.push(['all', `${outcomes.length}`, share(outcomes.filter(isRight).length / outcomes.length), '', ''])
  return markdown(
    ['skill', 'questions', 'right through the API', 'PyTorch', 'aim'],
    ['---', '---:', '---:', '---:', '---:'],
    rows,
  )
}

/** How well Pocket knows what it knows. */
function calibration(outcomes: readonly Outcome[]): string {
  const of = (...skills: string[]) => outcomes.filter(({ skill }) => skills.includes(skill))
  const beyond = of('out of its world')
  const within = of('ordinary questions', 'pronouns over turns')
  const printed = of('printed words', 'reads words', 'reads lines', 'reads digits and prices', 'reads signs')
  const part = (all: readonly Outcome[], which: (said: string) => boolean) =>
    share(all.filter(({ said }) => which(said)).length / all.length)
  return markdown(
    ['calibration', 'questions', 'share', 'aim'],
    ['---', '---:', '---:', '---:'],
    [
      ['out of its world: declined', `${beyond.length}`, part(beyond, declines), 'at least 97 %'],
      ['out of its world: with the command that gets a model', `${beyond.length}`, part(beyond, namesCommand), ''],
      ['of its world: declined', `${within.length}`, part(within, declines), 'at most 2 %'],
      [
        'printed text: read',
        `${printed.length}`,
        share(printed.filter(isRight).length / printed.length),
        'at least 92 %',
      ],
      ['printed text: says that it cannot read it', `${printed.length}`, part(printed, declines), ''],
    ],
  )
}

function handTable(judged: readonly Judged[]): string {
  const count = (verdict: Judged['verdict']) => judged.filter((one) => one.verdict === verdict).length
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
  const rows = judged.map(({ picture, question, said, verdict }) => [picture, cell(question), cell(said), verdict])
  return `Of ${judged.length} answers ${count('right')} are right, ${count('declined')} declined though Pocket might have known, and ${count('wrong')} wrong.\n\n${markdown(['picture', 'question', 'answer', 'judged'], ['---', '---', '---', '---'], rows)}`
}

function share(value: number | undefined): string {
  return value === undefined ? '' : `${(100 * value).toFixed(1)} %`
}

function markdown(...rows: [heads: string[], rule: string[], body: string[][]]): string {
  const [heads, rule, body] = rows
  return [heads, rule, ...body].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
