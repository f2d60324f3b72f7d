import { z } from 'zod'
import { checkId, randomId } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { datasetReport, problem } from './report.ts'

/** A dataset as it is kept. Times are in ms since 1970. */
export const datasetRecord = z.strictObject({
  account: z.string(),
  id: z.string(),
  /** Of all datasets that ever were. Another dataset may get the id later. */
  uid: z.string(),
  displayName: z.string(),
  created: z.number(),
  updated: z.number(),
  /** The file that is to come: its name, and its bytes if they are known. */
  expected: z.strictObject({ name: z.string(), bytes: z.number() }).nullable(),
  /** The file that is here. */
  file: z.strictObject({ name: z.string(), bytes: z.number() }).nullable(),
  /** `uploaded`: the file is here and nobody has looked at it. */
  state: z.enum(['empty', 'uploaded', 'checking', 'ready', 'invalid']),
  /** What its lines have. Of one that is `ready` or `invalid`. */
  report: datasetReport.nullable(),
  /** Why it is `invalid`: the first lines that cannot be used, and how many there are. */
  problems: z.array(problem),
  invalid: z.number(),
})
export type Dataset = Readonly<z.output<typeof datasetRecord>>

/** What somebody says of a new dataset. */
export interface WantedDataset {
  /** Default: one that is made up. */
  readonly id?: string | undefined
  readonly displayName?: string | undefined
}

/** @throws OrielError `invalid` for the name of the account, or the id */
export function newDataset(account: string, { id, displayName = '' }: WantedDataset): Dataset {
  const uid = randomId(24)
  const name = id ?? `file-${uid}`
  checkId(name, 'dataset', 'datasetId')
  if (!/^[\w.@-]{1,128}$/.test(account))
    throw new OrielError('invalid', 'An account is named with 1 to 128 letters, digits and ". _ @ -".', {
      param: 'account',
      code: 'bad_account',
    })
  const now = Date.now()
  return {
    ...{ account, id: name, uid, displayName, created: now, updated: now },
    ...{ expected: null, file: null, state: 'empty', report: null, problems: [], invalid: 0 },
  }
}
