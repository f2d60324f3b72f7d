import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Attachment, type ChatPrompt, plainSettings } from '../../src/deployments/ask.ts'
import { Router, tracesOf } from '../../src/deployments/routing.ts'
import { chatPrompt as chat } from '../support/chat-prompt.ts'

const image = (url: string): Attachment => ({ kind: 'image', param: 'image', url, detail: 'auto' })
const traces = (prompt: ChatPrompt, images: readonly string[] = [], isolation = plainSettings.isolation) =>
  tracesOf(prompt, images.map(image), isolation)

class Counted {
  load = 0
}

/** Some replicas and their router. A request stays until it is ended. */
function replicas(count: number) {
  const all = Array.from({ length: count }, () => new Counted()) as [Counted, ...Counted[]]
  const router = new Router<Counted>()
  return {
    all,
    ask(request: ReturnType<typeof traces>) {
      const chosen = router.choose(all, request)
      chosen.load++
      return { at: all.indexOf(chosen), end: () => chosen.load-- }
    },
    /** Asks and waits for the answer. */
    asked(request: ReturnType<typeof traces>): number {
      const { at, end } = this.ask(request)
      end()
      return at
    },
  }
}

describe('a request', () => {
  it('goes to the replica that has seen the beginning of its conversation', () => {
    const three = replicas(3)
    const [a, b] = [three.ask(traces(chat(['user', 'A']))), three.ask(traces(chat(['user', 'B'])))]
    expect(a.at).not.toBe(b.at)
    a.end()
    b.end()
    expect(three.asked(traces(chat(['user', 'B'], ['assistant', 'Yes'], ['user', 'And?'])))).toBe(b.at)
    expect(three.asked(traces(chat(['user', 'A'], ['assistant', 'No'], ['user', 'And?'])))).toBe(a.at)
  })

  it('goes to the replica that has seen its image, rather than its system prompt', () => {
    const two = replicas(2)
    const system: [string, string] = ['system', 'Be brief.']
    const cat = two.ask(traces(chat(system, ['user', 'What?', 0]), ['https://example.com/cat.png']))
    const dog = two.ask(traces(chat(['user', 'Which?', 0]), ['https://example.com/dog.png']))
    expect(cat.at).not.toBe(dog.at)
    cat.end()
    dog.end()
    expect(two.asked(traces(chat(system, ['user', 'Who?', 0]), ['https://example.com/dog.png']))).toBe(dog.at)
  })

  it('goes to another replica if that one is overloaded', () => {
    const two = replicas(2)
    const same = traces(chat(['user', 'A']))
    const first = two.ask(same)
    expect(two.ask(same).at).toBe(first.at)
    expect(two.ask(same).at).not.toBe(first.at)
  })

  it('is not known to who has another isolation key', () => {
    const mine = traces(chat(['user', 'A', 0]), ['https://example.com/cat.png'], ['me'])
    const theirs = traces(chat(['user', 'A', 0]), ['https://example.com/cat.png'], ['they'])
    for (const { name } of mine.beginnings) expect(theirs.beginnings.map(({ name }) => name)).not.toContain(name)
    expect(theirs.attachments).not.toEqual(mine.attachments)
  })

  it('with a message of megabytes is named by its beginning, its length and its images, in however many parts it comes', () => {
    const named = (texts: readonly string[], images: readonly string[] = []) => {
      const content = [
        ...texts.map((text) => ({ kind: 'text' as const, text })),
        ...images.map((_, attachment) => ({ kind: 'image' as const, attachment })),
      ]
      return traces({ ...chat(), messages: [{ role: 'user', content }] }, images).beginnings.map(({ name }) => name)
    }
    const part = (letter: string) => letter.repeat(16_000)
    const long = Array<string>(970).fill(part('a'))
    // What is behind its beginning is not read.
    expect(named(long.with(-1, part('b')))).toEqual(named(long))
    const cat = named(long, ['https://example.com/cat.png'])
    for (const other of [named(long.with(0, part('b'))), named([...long, part('a')]), cat])
      expect(other).not.toEqual(named(long))
    expect(named(long, ['https://example.com/dog.png'])).not.toEqual(cat)
  })

  it('with a file of megabytes is named by some of it, and another file has another name', () => {
    const long = (end: string) => `data:image/png;base64,${'A'.repeat(5_000_000)}${end}`
    const named = (url: string) => traces(chat(['user', 'A', 0]), [url]).attachments
    expect(named(long('B'))).toEqual(named(long('B')))
    expect(named(long('B'))).not.toEqual(named(long('C')))
  })
})

it('no replica has more than 1.25 times the mean load, rounded up, or two requests', () => {
  const requests = fc.array(fc.tuple(fc.nat(5), fc.nat(9)), { maxLength: 200 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), requests, (count, all) => {
      const some = replicas(count)
      const ends: (() => number)[] = []
      for (const [kind, ended] of all) {
        const { at, end } = some.ask(traces(chat(['user', String(kind)])))
        const total = some.all.reduce((sum, { load }) => sum + load, 0)
        expect(some.all[at]?.load).toBeLessThanOrEqual(Math.max(2, Math.ceil((1.25 * total) / count)))
        ends.push(end)
        if (ended > 5) ends.shift()?.()
      }
    }),
  )
})
