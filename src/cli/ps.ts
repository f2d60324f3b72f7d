import { z } from 'zod'
import { configOf } from '../load-config.ts'
import { bytesText } from '../sizes.ts'
import { durationText, table } from './figures.ts'
import { askServer, urlHere } from './server.ts'

interface ServerFlags {
  server?: string
  json?: boolean
}

const library = z.object({
  models: z.array(
    z.object({
      id: z.string(),
      state: z.string(),
      memory_bytes: z.number().nullable(),
      running: z.number(),
      idle_ms: z.number().nullable(),
    }),
  ),
  memory: z.object({ budget_bytes: z.number(), taken_bytes: z.number() }),
})

const serverOf = ({ server }: ServerFlags): string => server ?? urlHere(configOf({}).server)

/** The models in memory, and how much of it they take. @throws OrielError as `ps` does */
async function residentsOf(url: string) {
  const { models, memory } = await askServer('GET', url, '/admin/models', library)
  const residents = models
    .filter(({ state }) => state === 'loading' || state === 'loaded')
    .map(({ id, state, memory_bytes, running, idle_ms }) => ({
      ...{ id, state, memory_bytes: memory_bytes ?? 0, running },
      idle_seconds: idle_ms === null ? null : Math.floor(idle_ms / 1000),
    }))
  return { models: residents, memory }
}

/** The names of loaded models, for completion; none without a server. */
export async function loadedNames(): Promise<string[]> {
  const answer = await residentsOf(serverOf({})).catch(() => undefined)
  return answer?.models.map(({ id }) => id) ?? []
}

/** `oriel ps`: the models that a running server has loaded. @throws OrielError with one sentence for the person */
export async function ps(flags: ServerFlags): Promise<void> {
  const url = serverOf(flags)
  const answer = await residentsOf(url)
  const { models, memory } = answer
  if (flags.json) return void process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`)
  if (models.length === 0) return void process.stdout.write(`The server at ${url} has no model loaded.\n`)
  const rows = models.map(({ id, state, memory_bytes, running, idle_seconds }) => [
    id,
    state,
    bytesText(memory_bytes),
    running > 0 ? `${running} running` : `idle for ${durationText(idle_seconds ?? 0)}`,
  ])
  process.stdout.write(table([['NAME', 'STATE', 'MEMORY', 'REQUESTS'], ...rows]))
  process.stdout.write(`${bytesText(memory.taken_bytes)} of ${bytesText(memory.budget_bytes)} are taken.\n`)
}

const stopped = z.object({ id: z.string(), running: z.number() })

/** `oriel stop`: frees the memory of a model. The next request loads it again. @throws OrielError as `ps` does */
export async function stop(name: string, flags: ServerFlags): Promise<void> {
  const path = `/admin/models/${name.split('/').map(encodeURIComponent).join('/')}`
  const { id, running } = await askServer('DELETE', serverOf(flags), path, stopped)
  const requests = running === 1 ? 'its request is' : `its ${running} requests are`
  process.stdout.write(running === 0 ? `${id} was unloaded.\n` : `${id} is unloaded when ${requests} answered.\n`)
}
