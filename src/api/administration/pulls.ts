import { z } from 'zod'
import type { PullState } from '../../machine/index.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { parseStrictly } from '../request/validation.ts'
import { live } from './live.ts'
import { paramOf, place } from './managing.ts'
import { onDisk } from './on-disk.ts'

const time = z.iso.datetime()
const bytes = z.number().min(0)

export const pull = z.strictObject({
  id: z.string(),
  model: z.string().describe('As it was asked for.'),
  state: z.enum(['running', 'done', 'failed', 'cancelled']),
  step: z
    .enum(['asking', 'downloading', 'checking', 'waiting', 'retrying'])
    .nullable()
    .describe('`waiting`: another process pulls the same file.'),
  files: z.array(z.strictObject({ path: z.string(), bytes })),
  file: z.string().nullable().describe('The file that it is at.'),
  done_bytes: bytes,
  total_bytes: bytes.describe('0 until the hub has told.'),
  bytes_per_second: z.number().nullable(),
  seconds_left: z.number().nullable(),
  note: z.string().nullable().describe('Why it waits or tries again.'),
  error: z.strictObject({ message: z.string(), code: z.string().nullable() }).nullable(),
  served_as: z.string().nullable().describe('The id of the model, when it is here.'),
  started_at: time,
  ended_at: time.nullable(),
})

export const pullList = z.strictObject({ pulls: z.array(pull) })

const asked = z.object({
  model: z
    .string()
    .min(1)
    .max(500)
    .describe('A model of the catalogue, or a repository on the hub: `owner/name`, or `owner/name:QUANTIZATION`.'),
  anyway: z.boolean().nullish().describe('Also if this version cannot run its vision encoder.'),
})

/** Downloads from the hub. They go on whether or not somebody watches. */
export const pullEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'POST',
    path: '/admin/models/pull',
    summary: 'Begin to download a model from the hub, or join the pull of it that is running',
    body: asked,
    answer: pull,
    handler: onDisk(async ({ body }, { machine }): Promise<z.output<typeof pull>> => {
      const { model, anyway } = parseStrictly(asked, body)
      return shownPull(machine.pulls.start(model, { anyway: anyway ?? false }))
    }),
  },
  {
    ...place,
    method: 'GET',
    path: '/admin/pulls',
    summary: 'List the pulls that are running, and the last ones that have ended',
    answer: pullList,
    handler:
      ({ services: { machine } }) =>
      async (): Promise<z.output<typeof pullList>> => ({ pulls: machine.pulls.list().map(shownPull) }),
  },
  {
    ...place,
    method: 'GET',
    path: '/admin/pulls/live',
    summary: 'The same list as a stream: at once, and whenever it has changed',
    answer: null,
    event: pullList,
    handler: live(async function* (signal, { services }): AsyncIterable<z.output<typeof pullList>> {
      for await (const pulls of services.machine.pulls.live(signal)) yield { pulls: pulls.map(shownPull) }
    }),
  },
  {
    ...place,
    method: 'DELETE',
    path: '/admin/pulls/{pull}',
    pattern: '/admin/pulls/:pull',
    summary: 'Cancel a pull, or remove one that has ended from the list',
    answer: pull,
    handler: onDisk(
      async (request, { machine }): Promise<z.output<typeof pull>> =>
        shownPull(await machine.pulls.cancel(paramOf(request, 'pull'))),
    ),
  },
]

export function shownPull(state: PullState): z.output<typeof pull> {
  const { id, model, step, files, file, bytes, bytesPerSecond, note, error, servedAs, started, ended } = state
  const left = bytesPerSecond === null ? null : (bytes.total - bytes.done) / bytesPerSecond
  return {
    ...{ id, model, state: state.state, step, files: files.map(({ path, bytes }) => ({ path, bytes })), file },
    ...{ done_bytes: bytes.done, total_bytes: bytes.total },
    bytes_per_second: bytesPerSecond === null ? null : Math.round(bytesPerSecond),
    seconds_left: left === null ? null : Math.ceil(left),
    note,
    error: error && { message: error.message, code: error.code ?? null },
    ...{ served_as: servedAs, started_at: started.toISOString(), ended_at: ended?.toISOString() ?? null },
  }
}
