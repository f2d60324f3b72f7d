import { expect, it } from 'vitest'
import { root, run } from '../support/cli.ts'
import { shortRun } from '../support/long.ts'

/** A server whose model fails in a way that nobody expected. Its log is the program's stderr. */
const program = `
  import { createOriel } from './src/app.ts'
  import { plainBackend } from './test/support/plain-backend.ts'
  const answer = async ({ prompt }) => {
    const said = prompt.messages[0].content[0].text
    throw new TypeError(\`"\${said}" is not a word\`, { cause: new RangeError('too deep') })
  }
  const oriel = await createOriel(
    { model: [], logLevel: 'info', server: { port: 0 } },
    { env: { ORIEL_DATA_DIR: process.env.ORIEL_DATA_DIR }, backends: [{ ...plainBackend(), answer }] },
  )
  const { url } = await oriel.listen()
  const response = await fetch(url + '/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'plain', messages: [{ role: 'user', content: 'My SSN is 078-05-1120' }] }),
  })
  console.log(response.status, await response.text())
  await oriel.close()
`

it.skipIf(shortRun)('the log has the cause of a 500 with its stack, and not what the client wrote', async () => {
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program]
  const { stdout, stderr } = await run(process.execPath, args, { cwd: root })
  expect(stdout).toMatch(/^500 .*did not expect/)
  expect(stdout).not.toMatch(/SSN|TypeError/)
  const lines = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
  expect(lines.find(({ status }) => status === 500)).toMatchObject({
    level: 50,
    kind: 'internal',
    cause: {
      type: 'TypeError',
      message: expect.stringContaining('is not a word'),
      stack: expect.stringMatching(/answer .*caused by: RangeError: too deep/s),
    },
  })
  expect(stderr).not.toMatch(/SSN|078-05/)
})
