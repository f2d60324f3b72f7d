import { get } from './client.ts'

export type UsageGroup = 'model' | 'account' | 'key'

/** What requests of a group took and cost. null: they are not grouped by it, or had no key. */
export interface Sum {
  readonly account: string | null
  readonly key: string | null
  readonly model: string | null
  readonly requests: number
  readonly prompt_tokens: number
  readonly image_tokens: number
  readonly video_tokens: number
  readonly audio_tokens: number
  readonly cached_tokens: number
  readonly completion_tokens: number
  readonly cost: number
}

interface Page {
  readonly data: readonly Sum[]
  readonly next_page: string | null
}

/** Every sum since the first of this month (UTC), which is what the server begins with. @throws ServerError */
export async function usageOfMonth(group: UsageGroup): Promise<Sum[]> {
  const sums: Sum[] = []
  for (let next: string | null = ''; next !== null; ) {
    const page: Page = await get(
      `/admin/usage?group_by=${group}${next === '' ? '' : `&page=${encodeURIComponent(next)}`}`,
    )
    sums.push(...page.data)
    next = page.next_page
  }
  return sums
}
