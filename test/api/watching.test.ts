import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { qwen25oHearing } from '../encoders/oracle/families/whisper.ts'
import { postJson } from '../support/http.ts'
import { shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-watches-'))
let server: TestServer
beforeAll(async () => {
  mkdirSync(path.join(folder, 'omni'))
  qwen25oHearing.write(path.join(folder, 'omni', 'omni.gguf'), path.join(folder, 'omni', 'mmproj-omni.gguf'))
  server = await startServer({ model: [], models: { dirs: [folder], hub: { cache: path.join(folder, 'hub') } } })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

/** A second of silence as a WAV file: 16-bit, mono, 16 kHz. */
function silence(): string {
  const file = Buffer.alloc(44 + 32000)
  file.write('RIFF', 0)
  file.writeUInt32LE(36 + 32000, 4)
  file.write('WAVEfmt ', 8)
  for (const [at, value] of [
    [16, 16],
    [24, 16000],
    [28, 32000],
    [40, 32000],
  ] as const)
    file.writeUInt32LE(value, at)
  for (const [at, value] of [
    [20, 1],
    [22, 1],
    [32, 2],
    [34, 16],
  ] as const)
    file.writeUInt16LE(value, at)
  file.write('data', 36)
  return file.toString('base64')
}

const ask = async (model: string, content: readonly object[]) => {
  const body = {
    model,
    max_tokens: 2,
    ignore_eos: true,
    usage: { include: true },
    messages: [{ role: 'user', content }],
  }
  const response = await postJson(`${server.url}/v1/chat/completions`, body)
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
const frames = async () => {
  const pictures = await Promise.all((['red', 'green', 'blue'] as const).map((colour) => shape(colour)))
  return `data:video/jpeg;base64,${pictures.map((one) => one.toString('base64')).join(',')}`
}
const words = { type: 'text', text: 'What happens?' }

it('answers about a video and a sound together, and counts them apart', async () => {
  const content = [
    { type: 'video_url', video_url: { url: await frames() } },
    { type: 'input_audio', input_audio: { data: silence(), format: 'wav' } },
    words,
  ]
  const first = await ask('omni', content)
  expect(first).toMatchObject({ status: 200 })
  const again = await ask('omni', content)
  const { usage } = again.body as { usage: { prompt_tokens: number; prompt_tokens_details: Record<string, number> } }
  const { video_tokens: seen = 0, audio_tokens: heard = 0, cached_tokens: cached = 0 } = usage.prompt_tokens_details
  expect([seen > 4, heard > 10]).toEqual([true, true])
  expect(cached).toBeGreaterThan(seen + heard)
})

it('tells whoever shows Pocket a video which model takes it', async () => {
  const refused = await ask('pocket', [{ type: 'video_url', video_url: { url: await frames() } }, words])
  expect(refused).toMatchObject({
    status: 400,
    body: { error: { code: 'video_not_supported', message: expect.stringMatching(/does not accept video.*omni/) } },
  })
})
