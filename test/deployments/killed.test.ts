import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { z } from 'zod'
import { deployment, deploymentList } from '../../src/api/control/deployments.ts'
import { childrenRunning } from '../support/children.ts'
import { orielServe } from '../support/cli.ts'
import { inputs, shortRun } from '../support/long.ts'
import { missingServices, startPostgres } from '../support/services.ts'
import { patient } from '../support/wait.ts'

type Deployment = z.output<typeof deployment>
interface Running {
  child: ChildProcess
  pid: number
  url: string
}

const base = '/v1/accounts/acme/deployments'
const send = (at: { url: string }, method: string, where: string, body?: unknown): Promise<Response> =>
  fetch(`${at.url}${where}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
const show = async (at: Running, id: string): Promise<Deployment> =>
  deployment.parse(await (await send(at, 'GET', `${base}/${id}`)).json())
const ask = (at: Running, model: string, more: object = {}): Promise<Response> =>
  send(at, 'POST', '/v1/chat/completions', {
    ...{ model, max_tokens: 4, messages: [{ role: 'user', content: 'Hi' }] },
    ...more,
  })
const has = (at: Running, id: string, state: Deployment['state'], ready: number): Promise<void> =>
  vi.waitFor(async () => {
    const found = await show(at, id)
    expect([found.state, found.replicaCount]).toEqual([state, ready])
  }, patient)

const servers = new Set<ChildProcess>()
async function kill({ child }: Running): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
  servers.delete(child)
}
async function serve(env: Readonly<Record<string, string>>): Promise<Running> {
  const server = await orielServe([], env)
  servers.add(server.child)
  return server
}
afterEach(() => {
  for (const child of servers) child.kill('SIGKILL')
  servers.clear()
})

describe.skipIf(shortRun)('a server that is killed', () => {
  /** What happens to the deployment `eyes`, and how it is when a server runs again. */
  const moments: [string, (at: Running) => Promise<unknown>, Deployment['state'], number][] = [
    ['while it is created', (at) => send(at, 'POST', `${base}?deploymentId=eyes`, { baseModel: 'pocket' }), 'READY', 1],
    ['when it is ready', (at) => has(at, 'eyes', 'READY', 1), 'READY', 1],
    ['while it is scaled to zero', (at) => send(at, 'PATCH', `${base}/eyes:scale`, { replicaCount: 0 }), 'READY', 0],
    [
      'while it is updated',
      async (at) => {
        await send(at, 'PATCH', `${base}/eyes`, { minReplicaCount: 2, maxReplicaCount: 2 })
        expect((await show(at, 'eyes')).state).toBe('UPDATING')
      },
      'READY',
      2,
    ],
    [
      'while it is deleted',
      async (at) => {
        const answer = await ask(at, 'pocket#eyes', { stream: true, max_tokens: 2000, ignore_eos: true })
        await send(at, 'DELETE', `${base}/eyes?ignoreChecks=true`)
        expect((await show(at, 'eyes')).state).toBe('DELETING')
        void answer.body?.cancel().catch(() => {})
      },
      'DELETED',
      0,
    ],
    ['while it is restored', (at) => send(at, 'POST', `${base}/eyes:undelete`, {}), 'READY', 2],
  ]

  it('finds its deployments as they were, at each state', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'oriel-killed-'))
    let server = await serve({ ORIEL_DATA_DIR: folder })
    for (const [moment, act, state, ready] of moments) {
      await act(server)
      await kill(server)
      server = await serve({ ORIEL_DATA_DIR: folder })
      await has(server, 'eyes', state, ready)
      const { deployments } = deploymentList.parse(await (await send(server, 'GET', `${base}?showDeleted=true`)).json())
      expect([moment, deployments.length]).toEqual([moment, 1])
      // The server loads pocket when it starts, which is the first replica.
      await vi.waitFor(
        () =>
          expect([moment, childrenRunning('engine-process', server.pid).length]).toEqual([
            moment,
            state === 'DELETED' ? 1 : ready,
          ]),
        patient,
      )
      expect([moment, (await ask(server, 'pocket#eyes')).status]).toEqual([moment, state === 'DELETED' ? 404 : 200])
    }
    await kill(server)
    rmSync(folder, { recursive: true, maxRetries: 10, retryDelay: 100 })
  }, 400_000)

  it('before it has answered, has carried out all of a change or nothing', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'oriel-killed-'))
    let server = await serve({ ORIEL_DATA_DIR: folder })
    for (const wait of inputs([5], [0, 1, 2, 5, 10, 20])) {
      const made = Array.from({ length: 8 }, (_, at) =>
        send(server, 'POST', `${base}?deploymentId=d${wait}-${at}`, { baseModel: 'pocket', displayName: 'whole' }).then(
          (response) => response.ok,
          () => null,
        ),
      )
      await new Promise((resolve) => setTimeout(resolve, wait))
      await kill(server)
      const answered = await Promise.all(made)
      server = await serve({ ORIEL_DATA_DIR: folder })
      const { deployments } = deploymentList.parse(await (await send(server, 'GET', `${base}?pageSize=200`)).json())
      const ids = deployments.map(({ name }) => name.split('/').at(-1))
      for (const [at, isMade] of answered.entries()) if (isMade) expect(ids).toContain(`d${wait}-${at}`)
      expect(new Set(deployments.map(({ displayName }) => displayName))).toEqual(
        new Set(ids.length > 0 ? ['whole'] : []),
      )
      for (const id of ids) await send(server, 'DELETE', `${base}/${id}?hard=true`)
    }
    await kill(server)
    rmSync(folder, { recursive: true, maxRetries: 10, retryDelay: 100 })
  }, 400_000)
})

describe.skipIf(shortRun || missingServices())('two servers with one PostgreSQL', () => {
  it('have the same deployments: each answers for them, scales them and lets them go', async () => {
    const postgres = await startPostgres()
    const folders = [0, 1].map(() => mkdtempSync(path.join(tmpdir(), 'oriel-both-')))
    const database = await postgres.database('two_servers')
    const [one, two] = await Promise.all(
      folders.map((folder) => serve({ ORIEL_DATA_DIR: folder, DATABASE_URL: database })),
    )
    if (one === undefined || two === undefined) throw new Error('there are two')
    await send(one, 'POST', `${base}?deploymentId=eyes`, { baseModel: 'pocket', maxReplicaCount: 2 })
    await has(one, 'eyes', 'READY', 1)
    await vi.waitFor(async () => expect((await send(two, 'GET', `${base}/eyes`)).status).toBe(200), patient)
    await has(two, 'eyes', 'READY', 1)
    for (const server of [one, two]) expect((await ask(server, 'accounts/acme/deployments/eyes')).status).toBe(200)
    // Scaled by the other one than created it.
    await send(two, 'PATCH', `${base}/eyes:scale`, { replicaCount: 2 })
    for (const server of [two, one]) await has(server, 'eyes', 'READY', 2)
    await send(one, 'PATCH', `${base}/eyes:scale`, { replicaCount: 0 })
    for (const server of [one, two]) await has(server, 'eyes', 'READY', 0)
    expect((await ask(two, 'pocket#eyes')).headers.get('x-oriel-cold-start')).not.toBeNull()
    expect((await send(two, 'POST', `${base}?deploymentId=eyes`, { baseModel: 'pocket' })).status).toBe(409)
    await send(two, 'DELETE', `${base}/eyes?ignoreChecks=true`)
    await vi.waitFor(async () => expect((await ask(one, 'pocket#eyes')).status).toBe(404), patient)
    await send(one, 'POST', `${base}/eyes:undelete`, {})
    await vi.waitFor(async () => expect((await ask(two, 'pocket#eyes')).status).toBe(200), patient)
    // One that is killed takes nothing with it.
    await kill(one)
    expect((await ask(two, 'pocket#eyes')).status).toBe(200)
    await kill(two)
    await postgres.stop()
    for (const folder of folders) rmSync(folder, { recursive: true, maxRetries: 10, retryDelay: 100 })
  }, 400_000)
})
