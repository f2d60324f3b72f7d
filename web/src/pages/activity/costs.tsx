import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { saveAs } from '../../save-as.ts'
import { finished } from '../../server/activity.ts'
import { send } from '../../server/client.ts'
import { type Sum, type UsageGroup, usageOfMonth } from '../../server/usage.ts'
import { Failure } from '../../ui/failure.tsx'
import { amount, count } from '../../ui/figures.ts'
import { Icon } from '../../ui/icon.tsx'
import { type Column, Table } from '../../ui/table.tsx'

const groups: Readonly<Record<UsageGroup, string>> = { model: 'Model', account: 'Account', key: 'Key' }

/** Of a group, whose names stand before them. */
const figures: readonly Column<Sum>[] = [
  { name: 'Requests', kind: 'number', cell: (sum) => count(sum.requests) },
  { name: 'Prompt tokens', kind: 'number', cell: (sum) => count(sum.prompt_tokens) },
  { name: 'Of images', kind: 'number', cell: (sum) => count(sum.image_tokens) },
  { name: 'Of video and audio', kind: 'number', cell: (sum) => count(sum.video_tokens + sum.audio_tokens) },
  { name: 'Cached', kind: 'number', cell: (sum) => count(sum.cached_tokens) },
  { name: 'Answer tokens', kind: 'number', cell: (sum) => count(sum.completion_tokens) },
  { name: 'Cost', kind: 'number', cell: (sum) => amount(sum.cost) },
]

const columnsOf = (group: UsageGroup): readonly Column<Sum>[] => [
  {
    ...{ name: groups[group], kind: 'whole', isPlain: true },
    cell: (sum) => sum[group] ?? <span class="dim">without a key</span>,
  },
  ...figures,
]

/** How often the sums are read again while requests end, in ms. */
const often = 5000

/** What the ledger has of this month: usage and costs. */
export function Costs() {
  const by = useSignal<UsageGroup>('model')
  const known = useSignal<{ group: UsageGroup; sums: readonly Sum[] } | undefined>(undefined)
  const failure = useSignal('')
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
      failure.value = ''
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
  }
  const read = (group: UsageGroup): Promise<void> =>
    attempt(async () => {
      const sums = await usageOfMonth(group)
      if (group === by.value) known.value = { group, sums }
    })
  useEffect(() => {
    void read(by.value)
    let newest = finished.value[0]
    const timer = setInterval(() => {
      if (newest === finished.value[0]) return
      newest = finished.value[0]
      void read(by.value)
    }, often)
    return () => clearInterval(timer)
  }, [by.value])
  const download = (): Promise<void> =>
    attempt(async () => {
      const response = await send('/admin/usage?group_by=day,account,key,model&format=csv')
      saveAs('usage.csv', await response.blob())
    })
  return (
    <section aria-labelledby="costs">
      <div class="with-legend">
        <h2 id="costs">This month</h2>
        <div class="choices">
          <label class="hidden-text" for="costs-by">
            Sums for each
          </label>
          <select
            id="costs-by"
            class="input"
            onChange={(event) => {
              by.value = event.currentTarget.value as UsageGroup
            }}
          >
            {(Object.keys(groups) as UsageGroup[]).map((group) => (
              <option key={group} value={group} selected={by.value === group}>
                by {groups[group].toLowerCase()}
              </option>
            ))}
          </select>
          <button type="button" class="button" onClick={() => void download()}>
            <Icon name="download" />
            CSV
          </button>
        </div>
      </div>
      <Failure text={failure.value} />
      {known.value?.sums.length === 0 && <p class="empty card">Nothing was asked this month.</p>}
      {known.value !== undefined && known.value.sums.length > 0 && (
        <Table
          columns={columnsOf(known.value.group)}
          rows={known.value.sums}
          keyOf={(sum) => sum[known.value?.group ?? 'model'] ?? ''}
        />
      )}
    </section>
  )
}
