import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Ask, type Attachment, plainSettings } from '../../src/deployments/index.ts'
import { affinityOf, Places } from '../../src/upstreams/affinity.ts'
import type { Target } from '../../src/upstreams/target.ts'
import { chatPrompt, type Turn } from '../support/chat-prompt.ts'
import { targetsOf } from './targets.ts'

/** A chat whose pictures are named by their URLs. */
const chat = (
  turns: readonly Turn[],
  pictures: readonly string[] = [],
  settings: Partial<Ask['settings']> = {},
): Ask => ({
  prompt: chatPrompt(...turns),
  attachments: pictures.map((url): Attachment => ({ kind: 'image', param: 'image', url, detail: 'auto' })),
  settings: { ...plainSettings, ...settings },
  client: 'me',
})

/** Targets with requests that stay until they are ended. */
function fleet(weights: readonly number[]) {
  const targets = targetsOf(weights)
  const places = new Places()
  const loads = new Map(targets.map((target) => [target, 0]))
  const loadOf = (target: Target): number => loads.get(target) ?? 0
  const ask = (affinity: readonly string[], up: readonly Target[] = targets) => {
    const [first, ...others] = up.map((target) => ({ target, load: loadOf(target) }))
    if (first === undefined) throw new Error('nobody is up')
    const target = places.choose(targets, [first, ...others], affinity)
    loads.set(target, loadOf(target) + 1)
    return { target, end: () => void loads.set(target, loadOf(target) - 1) }
  }
  return {
    ...{ targets, loadOf, ask },
    /** Asks and waits for the answer. */
    asked(affinity: readonly string[], up?: readonly Target[]): Target {
      const { target, end } = ask(affinity, up)
      end()
      return target
    },
  }
}

const system: Turn = ['system', 'Be brief.']
const names = fc.array(fc.string(), { minLength: 1, maxLength: 60 })
const weights = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 6 })

describe('requests have in common', () => {
  const first = affinityOf(chat([system, ['user', 'What is it?', 0]], ['cat']))

  it('the picture of their first question, whatever is asked and whoever the model should be', () => {
    expect(
      affinityOf(
        chat(
          [
            ['system', 'Be long.'],
            ['user', 'Which?', 0],
          ],
          ['cat'],
        ),
      )[0],
    ).toBe(first[0])
    expect(affinityOf(chat([system, ['user', 'What is it?', 0]], ['dog']))[0]).not.toBe(first[0])
    expect(affinityOf(chat([system, ['user', 'What is it?', 0]], ['cat'], { isolation: ['me'] }))[0]).not.toBe(first[0])
  })

  it('all turns of a chat before the last', () => {
    const turns: Turn[] = [system, ['user', 'What is it?', 0], ['assistant', 'A cat.'], ['user', 'And this?', 1]]
    const next = affinityOf(chat(turns, ['cat', 'dog']))
    expect(next.slice(0, first.length)).toEqual(first)
    expect(next.length).toBe(first.length + 2)
  })

  it('not only a system text', () => {
    const [one, other] = ['A', 'B'].map((text) => affinityOf(chat([system, ['user', text]])))
    expect(one?.some((name) => other?.includes(name))).toBe(false)
  })

  it('what their client says, but not what another one says', () => {
    const said = (affinity: string, account: string) =>
      affinityOf(chat([['user', Math.random().toString(), 0]], ['cat'], { affinity, isolation: [account] }))[0]
    expect(said('a', 'me')).toBe(said('a', 'me'))
    expect(said('a', 'me')).not.toBe(said('b', 'me'))
    expect(said('a', 'me')).not.toBe(said('a', 'they'))
  })

  it('the beginning of a plain prompt', () => {
    const plain = (...texts: string[]): Ask => ({
      ...chat([]),
      prompt: { kind: 'plain', parts: texts.map((text) => ({ kind: 'text', text, special: false })) },
    })
    expect(affinityOf(plain('a', 'b'))[0]).toBe(affinityOf(plain('a', 'c'))[0])
    expect(affinityOf(plain('a'))[0]).not.toBe(affinityOf(plain('b'))[0])
    expect(affinityOf(chat([]))).toEqual([])
  })
})

describe('places', () => {
  it('are the same in every gateway, and for each turn of a chat', () => {
    fc.assert(
      fc.property(weights, names, (weights, names) => {
        const [one, other] = [fleet(weights), fleet(weights)]
        for (const name of names) {
          const place = one.targets.indexOf(one.asked([name]))
          for (const turns of [[name], [name, 'first'], [name, 'first', 'second']])
            expect(other.targets.indexOf(other.asked(turns))).toBe(place)
        }
      }),
    )
  })

  it('of one target only change when it leaves', () => {
    fc.assert(
      fc.property(weights, names, fc.nat(), (weights, names, gone) => {
        const { targets, asked } = fleet(weights)
        const leaving = targets[gone % targets.length]
        const before = names.map((name) => asked([name]))
        const after = names.map((name) =>
          asked(
            [name],
            targets.filter((target) => target !== leaving),
          ),
        )
        for (const [at, target] of before.entries())
          if (target === leaving) expect(after[at]).not.toBe(leaving)
          else expect(after[at]).toBe(target)
      }),
    )
  })

  it('are as many as the weight says', () => {
    const { targets, asked } = fleet([1, 2, 5])
    const counts = new Map(targets.map((target) => [target, 0]))
    for (let name = 0; name < 8000; name++) {
      const target = asked([String(name)])
      counts.set(target, (counts.get(target) ?? 0) + 1)
    }
    for (const target of targets) expect((counts.get(target) ?? 0) / target.weight).closeTo(1000, 150)
  })

  it('never have more than 1.25 times their part of the load, rounded up, or two requests', () => {
    const requests = fc.array(fc.tuple(fc.nat(5), fc.nat(9)), { maxLength: 200 })
    fc.assert(
      fc.property(weights, requests, (weights, requests) => {
        const { targets, loadOf, ask } = fleet(weights)
        const whole = weights.reduce((sum, weight) => sum + weight, 0)
        const running: (() => void)[] = []
        for (const [name, ended] of requests) {
          const { target, end } = ask([String(name)])
          const total = targets.reduce((sum, target) => sum + loadOf(target), 0)
          expect(loadOf(target)).toBeLessThanOrEqual(Math.max(2, Math.ceil((1.25 * total * target.weight) / whole)))
          running.push(end)
          if (ended > 5) running.shift()?.()
        }
      }),
    )
  })

  it('of a chat that began elsewhere, since its own was too busy, stay there until that is too busy', () => {
    const { targets, ask, asked } = fleet([1, 1, 1])
    const own = asked(['cat'])
    const chat = ['cat', 'What is it?']
    const others = [ask(['cat']), ask(['cat'])]
    expect(others.map(({ target }) => target)).toEqual([own, own])
    const began = ask(chat)
    expect(began.target).not.toBe(own)
    for (const { end } of [...others, began]) end()
    expect(asked([...chat, 'A cat.', 'And?'])).toBe(began.target)
    // While it is down, the chat goes on at another one.
    const up = targets.filter((target) => target !== began.target)
    expect(asked([...chat, 'A cat.', 'And?'], up)).toBe(own)
  })
})
