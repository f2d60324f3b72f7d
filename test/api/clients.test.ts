import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { backends } from '../support/backends.ts'
import { answers, clientImages, clients, type Where } from '../support/clients.ts'

describe.each(backends)('a client of the model $model', ({ start, greeting, oneImage, twoImages, ...backend }) => {
  let server: { url: string; close(): Promise<void> }
  let where: Where
  beforeAll(async () => {
    server = await start()
    where = { url: server.url, model: backend.model, key: 'none', images: await clientImages() }
  })
  afterAll(() => server.close())

  it.each(clients)('gets answers about no image, one and two: %s', async (_, make) => {
    const client = make(where)
    expect(await client.text()).toBe(greeting)
    expect(await client.image()).toBe(oneImage)
    expect(await client.images()).toBe(twoImages)
  })

  it.each(clients)('streams the same answer: %s', async (_, make) => {
    expect(await make(where).stream()).toBe(oneImage)
  })

  // Tool calls and schemas need a model that generates them.
  it.runIf(backend.model === 'pocket').each(clients)(
    'gets tool calls, and answers that follow a schema: %s',
    async (_, make) => {
      const client = make(where)
      expect(answers).toContain((await client.call()).colour)
      expect(answers).toContain((await client.object()).colour)
    },
  )
})
