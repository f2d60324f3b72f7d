import { useSignal, useSignalEffect } from '@preact/signals'
import { get, send } from '../../server/client.ts'
import { amount, count } from '../../ui/figures.ts'
import { Icon } from '../../ui/icon.tsx'

interface Sum {
  readonly account: string | null
  readonly key: string | null
  readonly model: string | null
  readonly requests: number
  readonly prompt_tokens: number
  readonly image_tokens: number
  readonly cached_tokens: number
  readonly completion_tokens: number
  readonly cost: number
}

const groups = { model: 'Model', account: 'Account', key: 'Key' } as const
type Group = keyof typeof groups

const figures: readonly { name: string; of: (sum: Sum) => string }[] = [
  { name: 'Requests', of: (sum) => count(sum.requests) },
  { name: 'Prompt tokens', of: (sum) => count(sum.prompt_tokens) },
  { name: 'Of images', of: (sum) => count(sum.image_tokens) },
  { name: 'Cached', of: (sum) => count(sum.cached_tokens) },
  { name: 'Answer tokens', of: (sum) => count(sum.completion_tokens) },
  { name: 'Cost', of: (sum) => amount(sum.cost) },
]

/** What the ledger has of this month: usage and costs. */
export function Costs() {
  const by = useSignal<Group>('model')
  const sums = useSignal<readonly Sum[] | undefined>(undefined)
  const failure = useSignal('')
  useSignalEffect(() => {
    get<{ data: readonly Sum[] }>(`/admin/usage?group_by=${by.value}`).then(
      ({ data }) => {
        sums.value = data
        failure.value = ''
      },
      (error: Error) => {
        failure.value = error.message
      },
    )
  })
  const download = async (): Promise<void> => {
    const response = await send(`/admin/usage?group_by=day,account,key,model&format=csv`)
    const url = URL.createObjectURL(await response.blob())
    const link = document.createElement('a')
    link.href = url
    link.download = 'usage.csv'
    link.click()
    URL.revokeObjectURL(url)
  }
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
              by.value = event.currentTarget.value as Group
            }}
          >
            {(Object.keys(groups) as Group[]).map((group) => (
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
      {failure.value === '' ? null : <p class="note bad">{failure.value}</p>}
      {sums.value === undefined ? null : sums.value.length === 0 ? (
        <p class="empty card">Nothing was asked this month.</p>
      ) : (
        <div class="scroll card">
          <table class="table stacks">
            <thead>
              <tr>
                <th scope="col">{groups[by.value]}</th>
                {figures.map(({ name }) => (
                  <th key={name} scope="col" class="number">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {sums.value.map((sum) => (
                <tr key={sum[by.value]}>
                  <td class="whole">{sum[by.value] ?? <span class="dim">without a key</span>}</td>
                  {figures.map(({ name, of }) => (
                    <td key={name} class="number" data-name={name}>
                      {of(sum)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
