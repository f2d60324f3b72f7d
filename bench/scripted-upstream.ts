import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * A process of the bench: a server of Chat Completions that answers any request with as many tokens as it asks for, the first at
 * once and the others at the pace of its argument, in ms; 0: as fast as they are read. It computes nothing.
 */
const pace = Number(process.argv[2])

const frame = (value: object): string => `data: ${JSON.stringify(value)}\n\n`
const common = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1767225600, model: 'scripted' }
const choice = (delta: object, finish_reason: string | null = null) =>
  frame({ ...common, choices: [{ index: 0, delta, logprobs: null, finish_reason }] })

const first = choice({ role: 'assistant', content: '' })
const token = choice({ content: ' word' })
const endOf = (tokens: number): string => {
  const usage = { prompt_tokens: 10, completion_tokens: tokens, total_tokens: 10 + tokens }
  return `${choice({}, 'length')}${frame({ ...common, choices: [], usage })}data: [DONE]\n\n`
}

function answer(response: ServerResponse, tokens: number): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(first + token)
  let left = tokens - 1
  const isOver = (): boolean => {
    if (left-- > 0) return false
    response.end(endOf(tokens))
    return true
  }
  if (pace > 0) {
    const timer = setInterval(() => {
      if (isOver()) clearInterval(timer)
      else response.write(token)
    }, pace)
    response.on('close', () => clearInterval(timer))
    return
  }
  const next = (): void => {
    if (response.destroyed || isOver()) return
    if (response.write(token)) setImmediate(next)
    else response.once('drain', next)
  }
  next()
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    if (request.method === 'GET')
      return void response.end(JSON.stringify({ object: 'list', data: [{ id: 'scripted' }] }))
    answer(response, JSON.parse(Buffer.concat(chunks).toString()).max_tokens)
  })
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
