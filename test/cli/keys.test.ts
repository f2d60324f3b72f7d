import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Accounts, createAccounts } from '../../src/accounts/index.ts'
import { candidatesFor } from '../../src/cli/completion.ts'
import { createProgram } from '../../src/cli/program.ts'
import { loadConfig } from '../../src/load-config.ts'
import { type Finished, oriel, orielHere, orielServe } from '../support/cli.ts'
import { shortRun } from '../support/long.ts'
import { atTerminal, hasTerminals } from '../support/terminal.ts'
import { patient } from '../support/wait.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-keys-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** The commands of a person whose database is `name`. */
function person(name: string) {
  const env = { ORIEL_DATA_DIR: path.join(folder, name), ORIEL_CONFIG: '' }
  const oneOf = (args: string): Promise<Finished> => orielHere(args.split(' '), env)
  return {
    env,
    /** @returns what a command that succeeds writes */
    async run(args: string): Promise<Finished> {
      const finished = await oneOf(args)
      expect(finished.code, finished.stderr).toBe(0)
      return finished
    },
    /** @returns the sentence of a command that fails */
    async failing(args: string): Promise<string> {
      const { code, stdout, stderr } = await oneOf(args)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/^oriel: .+\n$/)
      return stderr.slice('oriel: '.length, -1)
    },
    /** What a server does with the same database. */
    async serve<T>(act: (accounts: Accounts) => Promise<T>): Promise<T> {
      const accounts = await createAccounts(
        loadConfig({ prices: { input: 1000 }, accounts: { dataDir: env.ORIEL_DATA_DIR } }, {}),
        pino({ level: 'silent' }),
      )
      return act(accounts).finally(() => accounts.close())
    },
  }
}

const idIn = (text: string): string => /key_[\w-]+/.exec(text)?.[0] ?? ''

describe('oriel keys', () => {
  it('makes a key that works, alone on stdout, and says when it is the first one', async () => {
    const { env, run, serve } = person('create')
    const first = await oriel(['keys', 'create', '--admin'], { env })
    expect(first.stdout).toMatch(/^ork_[\w-]{43}\n$/)
    expect(first.stderr).toContain('from now on every request needs a key')
    const made = await run(
      'keys create --account acme --scope inference,usage --model smolvlm pocket --budget 0.5 --expires 30d --note robot',
    )
    expect(made.stderr).not.toContain('from now on')
    expect(made.stderr).toContain('There is no model smolvlm on this machine.')
    expect(made.stderr).not.toContain(made.stdout.trim())
    await serve(async (accounts) => {
      expect(await accounts.required()).toBe(true)
      expect(await accounts.authenticate(first.stdout.trim())).toMatchObject({
        account: 'local',
        scopes: ['inference', 'usage', 'metrics', 'admin'],
        models: null,
      })
      expect(await accounts.authenticate(made.stdout.trim())).toMatchObject({
        ...{ account: 'acme', scopes: ['inference', 'usage'], models: ['smolvlm', 'pocket'], keyBudget: 500_000 },
      })
      const { expires } = await accounts.keys.show(idIn(made.stderr))
      expect(Math.round(((expires ?? 0) - Date.now()) / 86_400_000)).toBe(30)
    })
  })

  it('lists keys with what they have spent, as a table and as JSON', async () => {
    const { run, serve } = person('list')
    expect((await run('keys list')).stdout).toBe('There are no keys. `oriel keys create` makes one.\n')
    const secret = (await run('keys create --account acme --budget 0.1 --note robot')).stdout.trim()
    await serve(async (accounts) => {
      const who = await accounts.authenticate(secret)
      const pass = await accounts.admit(who, 'pocket', { promptTokens: 1, generatedTokens: 1, images: 0 })
      pass.settle({ endpoint: '/v1/chat/completions', dialect: 'openai', status: 200, textTokens: 100 })
    })
    const { stdout } = await run('keys list')
    expect(stdout.split('\n')[0]?.split(/ +/)).toEqual(
      'KEY ID ACCOUNT SCOPES MODELS BUDGET SPENT EXPIRES CREATED STATE NOTE'.split(' '),
    )
    expect(stdout).toContain(secret.slice(0, 10))
    expect(stdout).not.toContain(secret)
    const { keys } = JSON.parse((await run('keys ls --json --account acme')).stdout)
    expect(keys).toMatchObject([
      { account: 'acme', budget: 0.1, spent: 0.1, state: 'spent', note: 'robot', models: null, expires: null },
    ])
  })

  it('revokes and rotates keys by their id, the beginning of it, or that of the secret', async () => {
    const { run, failing, serve } = person('end')
    const secret = (await run('keys create')).stdout.trim()
    const { keys } = JSON.parse((await run('keys list --json')).stdout)
    const id: string = keys[0].id
    const rotated = await run(`keys rotate ${secret.slice(0, 8)} --grace 1h`)
    const next = rotated.stdout.trim()
    expect(rotated.stderr).toMatch(/The old one .* works until \d{4}-\d\d-\d\d \d\d:\d\d UTC\./)
    await serve(async (accounts) => {
      expect(await accounts.authenticate(secret)).toEqual(await accounts.authenticate(next))
    })
    const shown = await run(`keys show ${id.slice(0, 9)}`)
    expect(shown.stdout).toMatch(/^state +active$/m)
    // The whole secret, of a key that was found in the wrong place.
    expect((await run(`keys revoke ${next}`)).stdout).toContain(`The key ${id} `)
    expect(JSON.parse((await run(`keys show ${id} --json`)).stdout)).toMatchObject({ id, state: 'revoked' })
    await serve((accounts) => expect(accounts.authenticate(next)).rejects.toThrow('The API key is revoked.'))
    expect(await failing(`keys rotate ${id}`)).toContain('is revoked')

    const shared = await serve(async ({ keys }) => {
      const begins = new Set<string>()
      for (;;) {
        const begin = (await keys.create({ account: 'many' })).key.id.slice(0, 5)
        if (begins.has(begin)) return begin
        begins.add(begin)
      }
    })
    expect(await failing(`keys revoke ${shared}`)).toMatch(new RegExp(`^${shared} means several keys: key_`))
  })

  it('refuses what it does not understand in one sentence', async () => {
    const { failing, env } = person('errors')
    for (const [args, sentence] of [
      ['keys show ork_nothing-like-it-0000', 'There is no key ork_nothin….'],
      ['keys create --expires soon', 'It must be a day like 2027-01-31, or a duration like 12h, 30d or 4w.'],
      ['keys create --admin --scope usage', "Option '--admin' cannot be used with option '--scope"],
      ['keys create --account a/b', 'The name of an account has 1 to 128 letters'],
      ['keys crate', 'Did you mean create? `oriel help keys` describes the command.'],
      ['keys revoke', "Missing required argument 'key'. `oriel help keys revoke` describes the command."],
      ['accounts set acme --tier gold', 'There is no tier gold. The configuration file has none.'],
      ['erase nobody', 'There is no account nobody. `oriel accounts list` shows the names of accounts.'],
    ] as const)
      expect(await failing(args), args).toContain(sentence)

    await writeFile(path.join(folder, 'file'), '')
    for (const [more, sentence] of [
      [{ ORIEL_DATA_DIR: path.join(folder, 'file') }, /^oriel: The data folder .*file cannot be made\. .*\n$/],
      [{ DATABASE_URL: 'postgres://127.0.0.1:9/x' }, /^oriel: The database of DATABASE_URL cannot be used: .*\n$/],
    ] as const)
      expect((await orielHere(['keys', 'list'], { ...env, ...more })).stderr).toMatch(sentence)
  })

  it('completes its words, keys and accounts', async () => {
    const { env, serve } = person('completion')
    const id = await serve(async ({ keys }) => (await keys.create({ account: 'acme' })).key.id)
    vi.stubEnv('ORIEL_DATA_DIR', env.ORIEL_DATA_DIR)
    const complete = (line: string): Promise<string[]> => candidatesFor(line, createProgram())
    expect(await complete('oriel key')).toEqual(['keys'])
    expect(await complete('oriel keys r')).toEqual(['revoke', 'rotate'])
    expect(await complete('oriel keys create --sc')).toEqual(['--scope'])
    expect(await complete('oriel keys create --scope a')).toEqual(['admin'])
    expect(await complete('oriel keys revoke ')).toEqual([id])
    expect(await complete('oriel usage --account ')).toEqual(['acme'])
    expect(await complete('oriel erase a')).toEqual(['acme'])
    vi.unstubAllEnvs()
  })
})

describe('oriel accounts', () => {
  it('sets tiers and budgets, and lists accounts', async () => {
    const { run } = person('accounts')
    const config = path.join(folder, 'tiers.json')
    await writeFile(config, JSON.stringify({ accounts: { tier: 'free', tiers: { free: { requests: 2 }, paid: {} } } }))
    expect((await run('accounts list')).stdout).toContain('There are no accounts.')
    const made = await run(`accounts set acme --tier paid --budget 12.5 --config ${config}`)
    expect(made.stdout).toBe('The account acme was made.\ntier    paid\nbudget  12.50 each month\n')
    expect((await run(`accounts list --config ${config}`)).stdout).toMatch(/^acme +paid +0 +12\.50 +0\.00 +\d{4}-/m)
    const changed = await run(`accounts set acme --tier none --budget none --config ${config}`)
    expect(changed.stdout).toBe('The account acme was changed.\ntier    free, which is the default\nbudget  none\n')
    const { accounts } = JSON.parse((await run('accounts list --json')).stdout)
    expect(accounts).toMatchObject([{ id: 'acme', tier: null, budget: null, spent: 0, keys: 0 }])
  })
})

describe('oriel usage', () => {
  /** Three requests of two accounts: 100 tokens of a prompt each. */
  async function used(name: string) {
    const someone = person(name)
    await someone.serve(async (accounts) => {
      const { secret } = await accounts.keys.create({ account: 'acme', note: 'robot' })
      for (const [who, model] of [
        [await accounts.authenticate(secret), 'pocket'],
        [await accounts.authenticate(secret), 'large'],
        [await accounts.authenticate((await accounts.keys.create({ account: 'bolt' })).secret), 'pocket'],
      ] as const) {
        const pass = await accounts.admit(who, model, { promptTokens: 1, generatedTokens: 1, images: 0 })
        const tokens = { textTokens: 60, imageTokens: 40, images: 1, cachedTokens: 20, completionTokens: 7 }
        pass.settle({ endpoint: '/v1/chat/completions', dialect: 'openai', status: 200, ...tokens })
      }
    })
    return someone
  }

  it('is a table of sums, JSON or CSV, by model, key, account or day', async () => {
    const { run } = await used('usage')
    const { stdout } = await run('usage')
    expect(stdout).toBe(
      [
        'MODEL   REQUESTS  PROMPT TOKENS  CACHED  ANSWER TOKENS  IMAGES  COST',
        'pocket         2            200      40             14       2  0.18',
        'large          1            100      20              7       1  0.09',
        'all            3            300      60             21       3  0.27',
        '',
      ].join('\n'),
    )
    expect((await run('usage --by key --account acme')).stdout).toMatch(/^acme +key_\S+ +robot +2 +200 /m)
    const { rows } = JSON.parse((await run('usage --by account --json --days 1')).stdout)
    expect(rows).toMatchObject([
      { account: 'acme', requests: 2, prompt_tokens: 200, cost: 0.18 },
      { account: 'bolt', requests: 1, prompt_tokens: 100, cost: 0.09 },
    ])
    const [head, line] = (await run('usage --by day --csv')).stdout.split('\r\n')
    expect(head).toMatch(/^start,account,/)
    expect(line).toMatch(/^\d{4}-\d\d-\d\dT00:00:00\.000Z,.*,3,300,/)
    expect((await run('usage --account nobody')).stdout).toBe('There was no request in the last 30 days.\n')
  })

  it('of old requests is removed by `oriel purge`, and what the month has cost stays', async () => {
    const { run, failing, serve } = await used('purge')
    expect(await failing('purge 0m')).toBe('There is no terminal to confirm at: use --yes.')
    expect((await run('purge 0m --yes')).stdout).toBe('The usage of 3 requests was removed.\n')
    expect((await run('usage')).stdout).toContain('There was no request')
    await serve(async (accounts) => {
      expect((await accounts.spent()).reduce((sum, { cost }) => sum + cost, 0)).toBe(270_000)
    })
  })

  it('of an account is removed with its keys by `oriel erase`', async () => {
    const { run, failing } = await used('erase')
    expect(await failing('erase acme')).toBe('There is no terminal to confirm at: use --yes.')
    const first = await run('erase acme --yes')
    expect(first).toMatchObject({
      stdout: 'The account acme was erased, with 1 key and the usage of 2 requests.\n',
      stderr: '',
    })
    expect(JSON.parse((await run('usage --by account --json')).stdout).rows).toMatchObject([{ account: 'bolt' }])
    expect((await run('keys list')).stdout).not.toContain('acme')
    expect((await run('erase bolt --yes')).stderr).toContain('No key is left')
  })

  it.skipIf(!hasTerminals)('has a chart at a terminal, where `oriel erase` asks', async () => {
    const { env } = await used('terminal')
    const { shown } = await atTerminal(['usage'], [], env)
    expect(shown).toMatch(/^Requests, \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, each day:\n *3 │ +█+\n/)
    expect(shown).toContain('MODEL   REQUESTS')
    const parts = '1 key, the usage of 2 requests, its limits, deployments, datasets and fine-tuning jobs'
    const question = `Erase the account acme with ${parts}? [y/N] `
    expect((await atTerminal(['erase', 'acme'], [[question, 'n\r']], env)).shown).not.toContain('was erased')
    expect((await atTerminal(['erase', 'acme'], [[question, 'y\r']], env)).shown).toContain('was erased')
  })
})

describe('a server that runs', () => {
  let running: Awaited<ReturnType<typeof orielServe>>['child'] | undefined
  afterAll(() => running?.kill('SIGKILL'))

  it.skipIf(shortRun)('needs keys once one is made, and obeys what the commands change', async () => {
    const { run, env } = person('server')
    const { url, child } = await orielServe([], env)
    running = child
    const statusWith = async (key?: string): Promise<number> =>
      (await fetch(`${url}/v1/models`, { headers: key === undefined ? {} : { 'x-api-key': key } })).status
    const soon = (key: string | undefined, status: number): Promise<void> =>
      vi.waitFor(async () => expect(await statusWith(key)).toBe(status), { ...patient, interval: 100 })

    expect(await statusWith()).toBe(200)
    const key = (await run('keys create')).stdout.trim()
    await soon(undefined, 401)
    expect(await statusWith(key)).toBe(200)
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ model: 'pocket', messages: [{ role: 'user', content: 'Hello' }] }),
    })
    const { usage } = (await answer.json()) as { usage: { prompt_tokens: number; completion_tokens: number } }
    const row = await vi.waitFor(async () => {
      const { rows } = JSON.parse((await run('usage --by key --json')).stdout)
      expect(rows).toHaveLength(1)
      return rows[0]
    }, patient)
    const { prompt_tokens, completion_tokens } = usage
    expect(row).toMatchObject({
      ...{ account: 'local', key: expect.stringMatching(/^key_/), requests: 1, prompt_tokens, completion_tokens },
    })

    const here = { ...env, ORIEL_PORT: new URL(url).port }
    const asked = await oriel(['ask', 'Hello'], { env: here })
    expect(asked).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^The server at \S+ is not asked\. .*ORIEL_API_KEY\.\n$/),
    })
    expect((await oriel(['ask', 'Hello'], { env: { ...here, ORIEL_API_KEY: key } })).stderr).toBe('')
    await run(`keys revoke ${key.slice(0, 10)}`)
    await soon(key, 401)
  })
})
