import { describe, expect, it } from 'vitest'
import { createOriel } from '../src/app.ts'
import { plainBackend } from './support/plain-backend.ts'

const shutDown = { kind: 'overloaded', message: 'The server is shutting down.' }
const create = () => createOriel({ model: [], logLevel: 'silent' }, { env: {}, backends: [plainBackend()] })

describe('after close', () => {
  it('answers and loads nothing, whether the model had been loaded or not', async () => {
    const oriel = await create()
    await oriel.close()
    await expect(oriel.ask('Hello', { model: 'plain' })).rejects.toMatchObject(shutDown)
    await expect(oriel.ask('Hello', { model: 'pocket' })).rejects.toMatchObject(shutDown)
    await expect(oriel.load(['pocket'])).rejects.toMatchObject(shutDown)
  })

  it('does not listen, also when close is called while listen is in progress', async () => {
    const oriel = await create()
    const listening = oriel.listen({ port: 0 })
    await oriel.close()
    await expect(listening).rejects.toMatchObject(shutDown)
    await expect(oriel.listen({ port: 0 })).rejects.toMatchObject(shutDown)
  })

  it('may be closed again', async () => {
    const oriel = await create()
    await oriel.listen({ port: 0 })
    await Promise.all([oriel.close(), oriel.close()])
    await oriel.close()
  })
})
