import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { writeAdapter } from '../support/adapters.ts'
import { type Finished, orielHere } from '../support/cli.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

let server: TestServer
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-adapters-'))
beforeAll(async () => {
  writeAdapter(folder, 'upper', { seed: 1 })
  server = await startServer({ models: { dirs: [folder] } })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

const command = (...args: string[]): Promise<Finished> =>
  orielHere(args, { ORIEL_PORT: new URL(server.url).port, ORIEL_HOST: '127.0.0.1' })

const jsonOf = async (...args: string[]) => {
  const { code, stdout, stderr } = await command(...args, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

it('a model is deployed, scaled, deleted and restored, and each command may be repeated', async () => {
  expect((await command('deployments', 'list')).stdout).toMatch(/^There are no deployments\. `oriel deploy <model>`/)
  expect((await command('deploy', 'pocket', '--validate-only')).stdout).toMatch(
    /^The deployment pocket would be made\.\n/,
  )
  expect((await command('deploy', 'pocket', '--wait')).stdout).toMatch(
    /^The deployment pocket was made\.\nname +accounts\/local\/deployments\/pocket\n.*\nstate +READY\nreplicas +1 of 1, from 0 to 1\n$/,
  )
  const changed = await command(
    'deploy',
    'pocket',
    '--max-replica-count',
    '2',
    '--display-name',
    'Eyes',
    '--scale-to-zero-window',
    '30m',
  )
  expect(changed.stdout).toMatch(/^The deployment pocket is as you want it\.\n.*\ntitle +Eyes\n(.*\n)*.*from 0 to 2\n$/)
  expect(await jsonOf('deploy', 'pocket', '--max-replica-count', '2')).toMatchObject({ displayName: 'Eyes' })

  const again = await command('deploy', 'pocket', '--validate-only', '--min-replica-count', '2')
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('There is a deployment pocket already') })
  expect(await jsonOf('deployments', 'get', 'pocket')).toMatchObject({ minReplicaCount: 0 })
  // What is another account's is not looked for in this one.
  for (const args of [
    ['deployments', 'get'],
    ['deployments', 'delete'],
  ]) {
    const theirs = await command(...args, 'accounts/acme/deployments/pocket')
    expect(theirs.stderr + theirs.stdout).toMatch(/acme|[Nn]o deployment/)
  }
  expect(
    (await command('deployments', 'get', 'accounts/acme/deployments/pocket', '--account', 'local')).stderr,
  ).toMatch(/is in the account acme, and --account is local/)

  expect((await command('scale', 'pocket', '0', '--wait')).stdout).toMatch(/ has 0 of 0 replicas\.\n/)
  await vi.waitFor(() => expect(server.engines()).toEqual([]), patient)
  expect(await jsonOf('scale', 'accounts/local/deployments/pocket', '1', '--wait')).toMatchObject({ replicaCount: 1 })
  expect(await jsonOf('scale', 'pocket', '1', '--wait')).toMatchObject({ state: 'READY' })
  expect((await command('scale', 'pocket', '3')).stderr).toMatch(
    /^oriel: The deployment pocket may have 0 to 2 replicas/,
  )

  const { stdout } = await command('deployments', 'list')
  expect(stdout).toMatch(
    /^NAME +MODEL +STATE +REPLICAS +BOUNDS\naccounts\/local\/deployments\/pocket +pocket +READY +1 of 1 +0 to 2\n$/,
  )
  expect((await command('complete', 'oriel scale p')).stdout).toBe('pocket\n')
  expect(await jsonOf('deployments', 'get', 'pocket')).toMatchObject({
    autoscalingPolicy: { scaleToZeroWindow: '1800s' },
  })

  expect((await command('deployments', 'delete', 'pocket')).stdout).toMatch(
    / was deleted\. `oriel deployments undelete` /,
  )
  expect((await command('deployments', 'delete', 'pocket')).stdout).toMatch(/ was deleted/)
  expect((await jsonOf('deployments', 'list')).deployments).toEqual([])
  expect((await jsonOf('deployments', 'list', '--show-deleted')).deployments).toHaveLength(1)
  expect((await command('deployments', 'undelete', 'pocket')).stdout).toMatch(/ was restored\./)
  expect((await command('deployments', 'delete', 'pocket')).code).toBe(0)
  expect((await command('deploy', 'pocket', '--wait')).stdout).toMatch(/ was restored\.\n/)
  expect((await command('deployments', 'rm', 'pocket', '--hard', '--ignore-checks')).stdout).toBe(
    'The deployment pocket was deleted.\n',
  )
  expect(await command('deployments', 'rm', 'pocket')).toMatchObject({
    code: 0,
    stdout: 'There is no deployment pocket.\n',
  })
})

it('a deployment is meant by the name of the model that it was made with', async () => {
  expect((await command('deploy', 'oriel/pocket')).stdout).toMatch(/^The deployment oriel-pocket was made\.\n/)
  expect(await jsonOf('scale', 'oriel/pocket', '0', '--wait')).toMatchObject({ maxReplicaCount: 1 })
  const name = 'accounts/local/deployments/oriel-pocket'
  expect(await jsonOf('deployments', 'get', 'oriel/pocket')).toMatchObject({ name })
  expect((await command('adapters', 'load', 'upper', 'oriel/pocket')).stdout).toMatch(/ on the deployment oriel-pocket/)
  expect(await jsonOf('adapters', 'unload', 'upper', 'oriel/pocket')).toEqual({ unloaded: true })
  expect(await jsonOf('deployments', 'delete', 'oriel/pocket')).toEqual({ deleted: true })
  expect(await jsonOf('deployments', 'undelete', 'Oriel/Pocket')).toMatchObject({ name })
  await command('deployments', 'delete', 'oriel-pocket', '--hard')
  await command('deploy', 'accounts/oriel/models/pocket')
  expect(await jsonOf('deployments', 'rm', 'accounts/oriel/models/pocket', '--hard')).toEqual({ deleted: true })
})

it('an adapter is put on a deployment and taken off it, and each command may be repeated', async () => {
  await command('deploy', 'pocket', '--deployment-id', 'eyes')
  for (const _ of [1, 2])
    expect((await command('adapters', 'load', 'upper', 'eyes')).stdout).toBe(
      'The adapter upper is on the deployment eyes.\n',
    )
  expect((await command('adapters', 'list')).stdout).toMatch(
    /^NAME +MODEL +RANK +DEPLOYMENTS\nupper +pocket +8 +eyes \(default\)\n$/,
  )
  const merged = await command('adapters', 'load', 'upper', 'accounts/local/deployments/eyes', '--replace-merged-addon')
  expect(merged.stdout).toMatch(/, and eyes alone means it\.\n$/)
  expect((await command('adapters', 'unload', 'upper', 'eyes')).stdout).toMatch(/ is no longer on the deployment eyes/)
  expect(await jsonOf('adapters', 'unload', 'upper', 'eyes')).toEqual({ unloaded: false })
  expect((await jsonOf('adapters', 'ls')).adapters).toMatchObject([{ id: 'upper', base: 'pocket', deployments: [] }])
  expect(await command('adapters', 'load', 'none', 'eyes')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('The adapter "none" was not found.'),
  })
  await command('deployments', 'delete', 'eyes', '--hard')
})

it('what is wrong is one sentence', async () => {
  for (const [args, sentence] of [
    [['deploy', 'none'], /^oriel: The model "none" was not found\./],
    [
      ['deploy', 'pocket', '--min-replica-count', '2', '--max-replica-count', '1'],
      /minReplicaCount is 2, which is more than/,
    ],
    [['deploy', 'pocket', '--scale-up-window', 'soon'], /scaleUpWindow must be a duration like 90s or 15m/],
    [['deploy', 'pocket', '--max-replica-count', '17'], /maxReplicaCount must be at most 16/],
    [['deployments', 'get', 'none'], /^oriel: There is no deployment "none"\.\n$/],
    [['scale', 'none', '1'], /^oriel: There is no deployment "none"\.\n$/],
    [['deployments', 'list', '--server', '127.0.0.1:9'], /^oriel: No server answers at /],
  ] as const) {
    const { code, stderr } = await command(...args)
    expect([code, stderr]).toEqual([1, expect.stringMatching(sentence)])
  }
})
