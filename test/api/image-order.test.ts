import { expect, it } from 'vitest'
import type { GenerateRequest } from '../../src/engine/index.ts'
import { postJson } from '../support/http.ts'
import { startScripted } from '../support/scripted.ts'

it('keeps the order of texts and images in a message', async () => {
  let asked: GenerateRequest | undefined
  const chatTemplate =
    "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% else %}<__media__>{% endif %}{% endfor %}{% endfor %}"
  const server = await startScripted(
    async function* (request) {
      asked = request
      yield { type: 'prompt', promptTokens: 1, cachedTokens: 0, attachmentTokens: [1, 1] }
      yield { type: 'end', choice: 0, reason: 'stop', stop: null, completionTokens: 0 }
      yield {
        type: 'done',
        timings: { queue: 0, encode: 0, prefill: 0, firstToken: 0, generation: 0 },
        attachments: [],
      }
    },
    { vision: true, chatTemplate },
  )
  try {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
    const text = (words: string) => ({ type: 'text', text: words })
    const content = [text('One '), image, text(' two '), image, text(' three.')]
    const response = await postJson(`${server.url}/v1/chat/completions`, {
      model: 'scripted',
      messages: [{ role: 'user', content }],
    })
    expect(response.status, await response.text()).toBe(200)
    const pieces: string[] = []
    for (const piece of asked?.prompt ?? []) {
      if (piece.kind === 'image') pieces.push('image')
      else if (piece.kind === 'text' && piece.text !== '') {
        if (pieces.length > 0 && pieces.at(-1) !== 'image') pieces.push(`${pieces.pop()}${piece.text}`)
        else pieces.push(piece.text)
      }
    }
    expect(pieces).toEqual(['One ', 'image', ' two ', 'image', ' three.'])
  } finally {
    await server.close()
  }
})
