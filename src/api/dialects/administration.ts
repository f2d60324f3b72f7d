import { accountEndpoints } from '../administration/accounts.ts'
import { activityEndpoints } from '../administration/activity.ts'
import { cacheEndpoint } from '../administration/cache.ts'
import { keyEndpoints } from '../administration/keys.ts'
import { libraryEndpoints } from '../administration/library.ts'
import { pullEndpoints } from '../administration/pulls.ts'
import { allUsageEndpoint } from '../usage/usage.ts'
import type { Dialect } from './dialect.ts'
import { openai } from './openai.ts'

/** What is for whoever runs the server, with OpenAI's errors. Pages of other origins cannot use it. */
export const administration: Dialect = {
  ...openai,
  bases: [''],
  endpoints: [
    ...keyEndpoints,
    ...accountEndpoints,
    allUsageEndpoint,
    ...activityEndpoints,
    ...libraryEndpoints,
    ...pullEndpoints,
    cacheEndpoint,
  ],
}
