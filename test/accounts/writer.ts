/**
 * A server in miniature, for tests that kill one: opens accounts, and admits and settles requests until SIGTERM. It tells its
 * parent what it has settled. Arguments: the settings of `accounts` as JSON, and requests a second.
 */
import pino from 'pino'
import { createAccounts } from '../../src/accounts/index.ts'
import { loadConfig } from '../../src/load-config.ts'
import type { Progress } from './processes.ts'

const [settings = '', rate = '200'] = process.argv.slice(2)
const accounts = await createAccounts(
  loadConfig({ prices: { input: 1, output: 2 }, accounts: JSON.parse(settings) }, {}),
  pino({ level: 'silent' }),
)
const who = await accounts.authenticate(undefined)
let progress: Progress = { settled: [], refused: 0 }
let stopping = false
process.on('SIGTERM', () => {
  stopping = true
})

const batch = Math.max(1, Math.round(Number(rate) / 100))
while (!stopping) {
  for (let request = 0; request < batch; request++) {
    const begun = Date.now()
    const reservation = await accounts
      .admit(who, 'pocket', { promptTokens: 10, generatedTokens: 5, images: 0 })
      .catch(() => undefined)
    if (reservation === undefined) {
      progress.refused++
      continue
    }
    const endpoint = '/v1/chat/completions'
    reservation.settle({ endpoint, dialect: 'openai', status: 200, textTokens: 10, completionTokens: 5 })
    progress.settled.push({ id: reservation.id, begun, at: Date.now() })
  }
  process.send?.(progress)
  progress = { settled: [], refused: 0 }
  await new Promise((resolve) => setTimeout(resolve, 10))
}
await accounts.close()
process.disconnect()
