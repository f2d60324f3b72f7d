import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { platform, tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { graniteSpeech } from '../encoders/oracle/families/granite-speech.ts'
import { qwen25oHearing } from '../encoders/oracle/families/whisper.ts'
import { environment, oriel, orielHere, root, run } from '../support/cli.ts'
import { writeBert } from '../support/embedding-models.ts'
import { inputs, shortRun } from '../support/long.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-commands-'))
})
afterAll(() => rm(folder, { recursive: true }))

const failing = async (args: string[], env: Record<string, string> = {}): Promise<string> => {
  const { code, stdout, stderr } = await orielHere(args, env)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  return stderr
}

describe('oriel', () => {
  it.each([
    [['lsit'], 'Did you mean list?'],
    [['serv'], 'Did you mean serve?'],
    [['chat'], 'Did you mean ask?'],
    [['download', 'x'], 'Did you mean pull?'],
    [['--port', '9000', 'lits'], 'Did you mean list?'],
    [['help', 'lits'], 'Did you mean list?'],
    [['modls', '--json'], 'There is no command "modls". `oriel help` lists the commands.'],
    [['lits', '--catalogue', '--json'], 'There is no command "lits". Did you mean list?'],
    [['lits', '--port', 'x'], 'There is no command "lits". Did you mean list?'],
    [['--port', '9000', 'lits', '--json'], 'There is no command "lits". Did you mean list?'],
    [['serve', 'list', '--json'], 'The command comes first: oriel list.'],
    [['serve', '--jsn', 'list'], "Unknown option '--jsn'. `oriel help serve` describes the command."],
    [['--port', 'lits'], "Option '--port <number>' argument 'lits' is invalid. A port is a whole number"],
    [['serve', 'list'], 'The command comes first: oriel list.'],
    [['examples/sample.png'], 'To ask about images: oriel ask examples/sample.png "What is in this image?"'],
    [['What is this?'], 'To ask about images: oriel ask photo.jpg "What is this?"'],
    [['frobnicate'], '`oriel help` lists the commands.'],
    [['list', '--jsn'], "Unknown option '--jsn'. Did you mean --json? `oriel help list` describes the command."],
    [['pull'], "Missing required argument 'model'. `oriel help pull` describes the command."],
  ])('explains an unknown word: %j', async (args, hint) => {
    expect(await failing(args)).toContain(hint)
  })

  it('names settings that are misspelt, in each command', async () => {
    const env = { ORIEL_PROT: '1', ORIEL_MODELS_DIRS: '/x' }
    const { stderr } = await orielHere(['list'], env)
    expect(stderr).toBe(
      'ORIEL_PROT is not a setting and has no effect. Did you mean ORIEL_PORT?\nORIEL_MODELS_DIRS is not a setting and has no effect. Did you mean ORIEL_MODELS_DIR?\n',
    )
    expect((await oriel(['ask', 'Hello'], { env })).stderr).toContain('Did you mean ORIEL_PORT?')
  })

  it('prints JSON where it prints a table', async () => {
    const { models } = JSON.parse((await orielHere(['ls', '--json'], {})).stdout)
    expect(models).toMatchObject([{ id: 'pocket', inputs: ['image'], context_tokens: 4096, fits: true }])
    const all = JSON.parse((await orielHere(['list', '--catalogue', '--json'], {})).stdout)
    expect(all.models).toContainEqual(expect.objectContaining({ id: 'smolvlm-256m', runs: true, fits: true }))
    const shown = JSON.parse((await orielHere(['show', 'pocket', '--json'], {})).stdout)
    expect(shown).toMatchObject({ name: 'pocket', context_tokens: 4096, downloaded: true })
    expect(JSON.parse((await orielHere(['show', 'smolvlm-256m', '--json'], {})).stdout)).toMatchObject({
      downloaded: false,
    })
  })

  it('says that a model embeds', async () => {
    writeBert(path.join(folder, 'small.gguf'))
    const env = { ORIEL_MODELS_DIR: folder }
    expect((await orielHere(['list'], env)).stdout).toMatch(/^small +A small BERT +text, to embed +/m)
    expect((await orielHere(['show', 'small'], env)).stdout).toMatch(
      /^embeds +texts, in 64 numbers \(the first token\); it does not answer$/m,
    )
    expect(JSON.parse((await orielHere(['show', 'small', '--json'], env)).stdout)).toMatchObject({
      embedding: { dimensions: 64, pooling: 'cls' },
    })
  })

  it('says what a model hears with', async () => {
    const models = await mkdtemp(path.join(folder, 'hearing-'))
    graniteSpeech.write(path.join(models, 'ears.gguf'), path.join(models, 'mmproj-ears.gguf'))
    await mkdir(path.join(models, 'both'))
    qwen25oHearing.write(path.join(models, 'both', 'both.gguf'), path.join(models, 'both', 'mmproj-both.gguf'))
    const env = { ORIEL_MODELS_DIR: models }
    const { stdout } = await orielHere(['show', 'ears'], env)
    expect(stdout).toMatch(/^images +none: its vision file has an audio encoder only$/m)
    expect(stdout).toMatch(/^audio +granite_speech, 0 million parameters$/m)
    expect(stdout).toMatch(/^audio precision +32-bit floats$/m)
    expect(JSON.parse((await orielHere(['show', 'ears', '--json'], env)).stdout)).toMatchObject({
      vision: null,
      audio: { family: 'granite_speech', supported: true },
    })
    const both = (await orielHere(['show', 'both'], env)).stdout
    expect(both).toMatch(/^vision +qwen2\.5o, .*\n(image tokens|precision) /m)
    expect(both).toMatch(/^audio +qwen2\.5o, 0 million parameters$/m)
    const entry = JSON.parse((await orielHere(['show', 'ultravox-1b', '--json'], env)).stdout)
    expect(entry).toMatchObject({ vision: null, audio: { family: 'ultravox', supported: true } })
  })

  it('says in a second that the hub cannot be reached', async () => {
    expect(await failing(['pull', 'smolvlm-256m'], { HF_ENDPOINT: 'http://127.0.0.1:9' })).toMatch(
      /oriel: 127\.0\.0\.1:9 cannot be reached: it refuses connections\. Connect this machine.*\n$/,
    )
  })

  it('asks before `run` downloads a model', async () => {
    expect(await failing(['run', 'smolvlm-256m', 'Hello'])).toContain('There is no terminal to confirm at: use --yes.')
    expect(await failing(['run', 'gpt-5', 'Hello'])).toContain('There is no model gpt-5.')
    expect((await oriel(['run', 'pocket', 'examples/sample.png', 'What is in this image?'])).stdout).toBe(
      'A red circle on a white background.\n',
    )
  })

  it('says that a server is another program, whatever it answers', async () => {
    const other = createServer((request, response) =>
      response.writeHead(request.method === 'GET' ? 404 : 200).end('{}'),
    )
    await once(other.listen(0, '127.0.0.1'), 'listening')
    const address = other.address()
    const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    try {
      for (const words of [['ps'], ['stop', 'pocket'], ['ask', 'Hello']])
        expect(await failing([...words, '--server', url])).toBe(`oriel: ${url} is not a server of Oriel.\n`)
    } finally {
      other.close()
    }
  })
})

describe('oriel doctor', () => {
  it.skipIf(shortRun)('finds what is wrong, with a cure, and that pocket answers', async () => {
    const file = path.join(folder, 'file')
    await writeFile(file, '')
    const silent = createServer(() => {})
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const address = silent.address()
    const port = typeof address === 'object' ? `${address?.port}` : ''
    const hub = { HF_ENDPOINT: 'http://127.0.0.1:9', HF_HOME: file }
    const env = { ...hub, TMPDIR: file, TEMP: file, ORIEL_PROT: '1', ORIEL_PORT: port }
    const { code, stdout } = await oriel(['doctor', '--json'], { env }).finally(() => silent.close())
    expect(code).toBe(0)
    const { checks } = JSON.parse(stdout) as {
      checks: { check: string; status: string; found: string; cure?: string }[]
    }
    expect(checks.find(({ check }) => check === 'server')?.found).toMatch(
      /:\d+, or a server that is too busy to answer$/,
    )
    const statuses = Object.fromEntries(checks.map(({ check, status }) => [check, status]))
    expect(statuses).toMatchObject({
      ...{ version: 'ok', settings: 'warn', temporary: 'warn', models: 'ok', folders: 'warn', hub: 'warn' },
      ...{ 'vision runtime': 'ok', answer: 'ok', server: 'warn' },
    })
    for (const { status, cure } of checks) expect(status === 'ok' || cure !== undefined).toBe(true)
  })
})

describe('oriel serve', () => {
  const isRoot = process.getuid?.() === 0

  it('says in one sentence what it cannot start with, and how to cure it', async () => {
    const file = path.join(folder, 'broken.gguf')
    await writeFile(file, 'GGUF')
    expect(await oriel(['serve', '--model', file])).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^oriel: broken\.gguf is not a valid GGUF file: .*\n$/),
    })
    for (const [args, message] of [
      [['--model', folder], /^oriel: There is no model .*\. The models are: pocket\. `oriel list` shows .*\n$/],
      [['--host', 'nowhere.invalid'], /^oriel: nowhere\.invalid is not an address of this machine\. .*--host\.\n$/],
      [['--memory-budget', '1MB'], /^oriel: The model pocket never fits: .*\n$/],
      [['--gpu', 'metal'], /^oriel: .*metal.*\n$/],
      [['--host', '0.0.0.0'], /^oriel: Other machines can reach 0\.0\.0\.0, .*`oriel keys create --admin`.*\n$/],
    ] as const)
      expect(await failing(['serve', '--port', '0', ...args])).toMatch(message)
  })

  it.skipIf(platform() !== 'linux' || !isRoot)('names a file that its user may not read, and a port', async () => {
    const file = path.join(folder, 'secret.gguf')
    const open = await mkdtemp(path.join(tmpdir(), 'oriel-nobody-'))
    await chmod(open, 0o777)
    await writeFile(file, 'GGUF', { mode: 0 })
    const asNobody = (...args: string[]) =>
      run('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, 'bin/oriel.js', ...args], {
        env: { ORIEL_DATA_DIR: path.join(open, 'nobody') },
      })
    await chmod(folder, 0o755)
    expect((await asNobody('serve', '--model', file)).stderr).toMatch(
      /^oriel: secret\.gguf cannot be read: EACCES\.\n$/,
    )
    expect((await asNobody('serve', '--port', '80')).stderr).toMatch(
      /^oriel: This user may not listen on port 80\. .*\n$/,
    )
  })

  it.skipIf(shortRun || platform() !== 'linux' || !isRoot)(
    'may run as a user whom the machine does not know',
    async () => {
      const args = ['-u', 'HOME', 'setpriv', '--reuid=54321', '--regid=54321', '--clear-groups', process.execPath]
      const unknown = (...words: string[]) => run('env', [...args, 'bin/oriel.js', ...words])
      expect(await unknown('ask', '--local', 'examples/sample.png', 'What is in this image?')).toEqual({
        code: 0,
        stdout: 'A red circle on a white background.\n',
        stderr: '',
      })
    },
  )

  it.skipIf(shortRun)('needs no home and no temporary folder', async () => {
    const file = path.join(folder, 'file')
    await writeFile(file, '')
    const env = { HOME: file, USERPROFILE: file, TMPDIR: file, TEMP: file, TMP: file }
    expect(await oriel(['ask', '--local', 'examples/sample.png', 'What is in this image?'], { env })).toEqual({
      code: 0,
      stdout: 'A red circle on a white background.\n',
      stderr: '',
    })
  })
})

describe('oriel completion', () => {
  const complete = async (line: string): Promise<string[]> =>
    (await orielHere(['complete', line], {})).stdout.split('\n').slice(0, -1)

  it('completes commands, flags, their values, and models', async () => {
    expect(await complete('oriel l')).toEqual(['list'])
    expect(await complete('oriel sh')).toEqual(['show'])
    expect(await complete('oriel ask --sc')).toEqual(['--schema'])
    expect(await complete('oriel serve --gpu v')).toEqual(['vulkan'])
    expect(await complete('oriel ask --model po')).toEqual(['pocket'])
    expect(await complete('oriel pull smolvlm-2')).toEqual(['smolvlm-256m'])
    expect(await complete('oriel show po')).toEqual(['pocket'])
    expect(await complete('oriel help pul')).toEqual(['pull'])
    expect(await complete('oriel completion z')).toEqual(['zsh'])
    // Files are the shell's.
    expect(await complete('oriel ask exam')).toEqual([])
  })

  it.skipIf(platform() === 'win32')('works in bash', async () => {
    const { stdout } = await run('bash', [
      '-c',
      `oriel() { '${process.execPath}' '${root}bin/oriel.js' "$@"; }; source <(oriel completion bash)
       COMP_LINE='oriel pull smolvlm-2'; COMP_POINT=\${#COMP_LINE}; _oriel; echo "\${COMPREPLY[@]}"; complete -p oriel`,
    ])
    expect(stdout).toBe('smolvlm-256m\ncomplete -o bashdefault -o default -F _oriel oriel\n')
  })
})

describe.skipIf(platform() === 'win32')('Ctrl-C', () => {
  /** Signals all processes of a command, as a terminal does. */
  async function interrupted(args: string[], after: RegExp) {
    const child = spawn(process.execPath, [`${root}bin/oriel.js`, ...args], {
      cwd: root,
      detached: true,
      env: environment({ ORIEL_LOG_LEVEL: 'warn' }),
    })
    let [stdout, stderr] = ['', '']
    child.stderr.on('data', (text) => {
      stderr += text
    })
    child.stdout.on('data', (text) => {
      const signalled = after.test(stdout)
      stdout += text
      // A second one ends the command at once.
      if (!signalled && after.test(stdout)) process.kill(-(child.pid ?? Number.NaN), 'SIGINT')
    })
    const [code] = await once(child, 'close')
    return { code, stderr }
  }

  it('ends the server without a warning', async () => {
    expect(await interrupted(['serve', '--port', '0'], /curl /)).toEqual({ code: 0, stderr: '' })
  })

  it('ends a question, with the status of programs that were interrupted', async () => {
    const args = ['ask', '--each', ...Array<string>(200).fill('examples/sample.png'), 'What is in this image?']
    expect(await interrupted(args, /red circle/)).toEqual({ code: 130, stderr: '' })
  })
})

describe.skipIf(platform() !== 'linux')('a limit of the system', () => {
  const addresses = /^oriel: The limit of this shell for the address space .* `ulimit -v unlimited`.*\n$/
  const files = /^oriel: .* ulimit -n 4096\.\n$/
  const few: [string, RegExp][] = [
    ['ulimit -v 3000000', addresses],
    ['ulimit -n 20', files],
  ]
  it.each(inputs(few, [...few, ['ulimit -v 6000000', addresses], ['ulimit -n 25', files]]))(
    'is named with its cure: %s',
    async (limit, message) => {
      const { code, stderr } = await run('bash', ['-c', `${limit}; '${process.execPath}' bin/oriel.js serve --port 0`])
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(message) })
    },
  )
})
