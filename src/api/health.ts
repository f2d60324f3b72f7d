import type { Deployments } from '../deployments/index.ts'
import type { EngineStates, KnownEngine } from './engine-states.ts'

/** How long `/health` and `/ready` wait for the engines, in ms. */
const longest = { health: 20, ready: 2000 }

/** That this process lives. @param isWhole whether who asks may know the rest: the models, and how busy they are */
export async function healthOf(
  { memory, upstreams }: Pick<Deployments, 'memory' | 'upstreams'>,
  engines: EngineStates,
  isWhole: boolean,
) {
  if (!isWhole) return { status: 'ok' }
  const known = await engines.fresh(longest.health)
  return {
    status: 'ok',
    engines: known.map(({ model, status, last }) => ({
      model,
      status,
      ...(last && {
        running: last.state.running,
        waiting: last.state.waiting,
        seconds_ago: Math.round(last.age / 1000),
      }),
    })),
    upstreams: upstreams().map(({ name, isUp, models, inFlight }) => {
      return { upstream: name, status: isUp ? 'ok' : 'down', models, running: inFlight }
    }),
    memory: { budget_bytes: memory.budget, taken_bytes: memory.taken },
  }
}

/**
 * Why no request could be answered now; undefined: one could. A model that is not loaded could be, but a server with
 * upstreams is there for theirs.
 */
export async function whyNotReady(
  deployments: Pick<Deployments, 'list' | 'upstreams'>,
  engines: EngineStates,
): Promise<string | undefined> {
  const known = await engines.fresh(longest.ready)
  if (known.some(({ status }) => status === 'ok')) return undefined
  const upstreams = deployments.upstreams()
  if (upstreams.some(({ isUp }) => isUp)) return undefined
  if (known.length > 0) return known.map(troubleOf).join(' ')
  if (upstreams.length > 0) return `No upstream answers: ${upstreams.map(({ name }) => name).join(', ')}.`
  const models = await deployments.list()
  if (models.some(({ state }) => state !== 'failed' && state !== 'not_pulled')) return undefined
  return models.some(({ state }) => state === 'failed') ? 'No model can be loaded.' : 'There is no model.'
}

const troubleOf = ({ model, status }: KnownEngine): string =>
  `The engine of ${model} ${status === 'restarting' ? 'is restarting' : 'does not answer'}.`
