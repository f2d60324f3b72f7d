import { type Accounts, csvOf, type UsagePage, type UsageQuery, type UsageRow, usageJson } from '../accounts/index.ts'
import { type AccountFlags, withAccounts } from './accounts.ts'
import { bars } from './bars.ts'
import { countedText, dayText, moneyText, table } from './figures.ts'

interface UsageFlags extends AccountFlags {
  days?: number
  by?: 'day' | 'model' | 'key' | 'account'
  account?: string
  csv?: boolean
}

const dayMs = 86_400_000

/** `oriel usage`: sums of the ledger, and bars by day at a terminal. @throws OrielError as `withAccounts` does */
export async function usage({ days = 30, by = 'model', account, csv, json, ...flags }: UsageFlags): Promise<void> {
  await withAccounts(flags, async (accounts) => {
    const to = Date.now()
    const from = to - (to % dayMs) - (days - 1) * dayMs
    const query = { from, to: to + 1, accounts: account === undefined ? undefined : [account] }
    const rows = await allOf(accounts, { ...query, ...groupings[by] })
    if (csv) return void process.stdout.write(csvOf(rows))
    if (json) {
      const shown = { from: new Date(from).toISOString(), to: new Date(to).toISOString(), rows: rows.map(usageJson) }
      return void process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`)
    }
    const span = days === 1 ? 'today' : `in the last ${countedText(days, 'day')}`
    if (rows.length === 0) return void process.stdout.write(`There was no request ${span}.\n`)
    if (process.stdout.isTTY) {
      const byDay = by === 'day' ? rows : await allOf(accounts, { ...query, period: 'day' })
      process.stdout.write(chartOf(byDay, from, days, process.stdout.columns || 80))
    }
    // The largest first; days in their order.
    const sorted = by === 'day' ? rows : rows.toSorted((a, b) => b.cost - a.cost || b.requests - a.requests)
    const notes = by === 'key' ? await notesOf(accounts) : new Map<string, string>()
    process.stdout.write(tableOf(sorted, by, notes))
  })
}

const groupings = {
  day: { period: 'day' },
  model: { by: ['model'] },
  key: { by: ['account', 'key'] },
  account: { by: ['account'] },
} as const satisfies Record<string, Partial<UsageQuery>>

async function allOf(accounts: Accounts, query: UsageQuery): Promise<UsageRow[]> {
  const rows: UsageRow[] = []
  let after: string | undefined
  do {
    const page: UsagePage = await accounts.usage({ ...query, after })
    rows.push(...page.rows)
    after = page.next
  } while (after !== undefined)
  return rows
}

const notesOf = async ({ keys }: Accounts): Promise<Map<string, string>> =>
  new Map((await keys.list()).map(({ id, note }) => [id, note]))

const titles = {
  day: ['DAY'],
  model: ['MODEL'],
  key: ['ACCOUNT', 'KEY', 'NOTE'],
  account: ['ACCOUNT'],
}

function tableOf(rows: readonly UsageRow[], by: keyof typeof titles, notes: ReadonlyMap<string, string>): string {
  const labels = ({ start, model, key, account }: UsageRow): string[] =>
    ({
      day: [dayText(start ?? 0)],
      model: [model ?? ''],
      key: [account ?? '', key ?? 'none', notes.get(key ?? '') ?? ''],
      account: [account ?? ''],
    })[by]
  const figures = (of: readonly UsageRow[]): string[] => {
    const sum = (count: (row: UsageRow) => number): number => of.reduce((total, row) => total + count(row), 0)
    return [
      ...[sum((row) => row.requests), sum((row) => row.promptTokens), sum((row) => row.cachedTokens)],
      ...[sum((row) => row.completionTokens), sum((row) => row.images)],
    ]
      .map((figure) => figure.toLocaleString('en'))
      .concat(moneyText(sum((row) => row.cost)))
  }
  const head = [...titles[by], 'REQUESTS', 'PROMPT TOKENS', 'CACHED', 'ANSWER TOKENS', 'IMAGES', 'COST']
  const total = ['all', ...titles[by].slice(1).map(() => ''), ...figures(rows)]
  const body = rows.map((row) => [...labels(row), ...figures([row])])
  return table([head, ...body, ...(rows.length > 1 ? [total] : [])], titles[by].length)
}

function chartOf(rows: readonly UsageRow[], from: number, days: number, columns: number): string {
  const byDay = new Map(rows.map(({ start, requests }) => [start, requests]))
  const values = Array.from({ length: days }, (_, at) => byDay.get(from + at * dayMs) ?? 0)
  if (values.length < 2) return ''
  const { text, each } = bars(values, columns)
  const span = `${dayText(from)} to ${dayText(from + (days - 1) * dayMs)}`
  return `Requests, ${span}, ${each === 1 ? 'each day' : `${each} days in each bar`}:\n${text}\n`
}
