import { libraryEndpoints } from '../administration/library.ts'
import { pullEndpoints } from '../administration/pulls.ts'
import type { Dialect } from './dialect.ts'
import { openai } from './openai.ts'

/** What is for whoever runs the server, with OpenAI's errors. Pages of other origins cannot use it. */
export const administration: Dialect = {
  ...openai,
  bases: [''],
  endpoints: [...libraryEndpoints, ...pullEndpoints],
}
