import { setTimeout as sleep } from 'node:timers/promises'
import { OrielError } from '../errors.ts'
import type { OpenedEncoder } from './encoder.ts'
import type { VisionAdapter } from './generation.ts'
import type { AttachmentSpan } from './prompt-cells.ts'

/** The encoder with an adapter, on a thread of its own: nobody waits while it is opened. */
interface Adapted {
  readonly key: string
  /** Resolves when it is open, or cannot be. */
  readonly opening: Promise<void>
  /** null while it is being opened. */
  encoder: OpenedEncoder | null
  /** Why it cannot be opened: the next span of it is told, and then it is tried again. */
  failure: unknown
  /** When it was opened, by `performance.now()`. */
  opened: number
  /** Whether it has encoded since then. Until it has it stays for a while, or many adapters would take it from each other. */
  isUsed: boolean
}

/** How long an encoder that nobody has used stays, in ms: whoever wanted it may have left. */
const unusedMs = 5000

/**
 * The encoders of a model, and those that adapters make of the one for images: they are opened when a span needs one, and the
 * one that was used least recently closes for another.
 * @param mostOpen of those with an adapter at one time: each takes as much memory as the model's own
 * @param openWith opens the encoder of images with an adapter @throws OrielError
 * @param changed is told how many are open or being opened
 */
export function withVisionAdapters(
  own: OpenedEncoder,
  mostOpen: number,
  openWith: (file: string) => Promise<OpenedEncoder>,
  changed: (open: number) => void = () => {},
): OpenedEncoder {
  /** By their keys, the least recently used first. */
  const adapted = new Map<string, Adapted>()
  let givesWay = false
  const all = (): OpenedEncoder[] => [own, ...[...adapted.values()].flatMap(({ encoder }) => encoder ?? [])]

  const close = (one: Adapted): void => {
    adapted.delete(one.key)
    one.encoder?.close()
    changed(adapted.size)
  }

  const open = ({ key, file }: VisionAdapter): Adapted => {
    const opening = openWith(file).then(
      (encoder) => {
        one.encoder = encoder
        one.opened = performance.now()
        // It may have been closed meanwhile.
        if (adapted.get(key) === one) encoder.giveWay(givesWay)
        else encoder.close()
      },
      (error: unknown) => {
        one.failure = unusable(error)
      },
    )
    const one: Adapted = { key, opening, encoder: null, failure: undefined, opened: 0, isUsed: false }
    adapted.set(key, one)
    changed(adapted.size)
    return one
  }

  /** @returns whether there is space for another one */
  const makeSpace = (): boolean => {
    if (adapted.size < mostOpen) return true
    const idle = [...adapted.values()].find(
      ({ encoder, failure, opened, isUsed }) =>
        failure !== undefined || (encoder?.busy === false && (isUsed || performance.now() - opened > unusedMs)),
    )
    if (idle !== undefined) close(idle)
    return idle !== undefined
  }

  let later: Promise<void> | undefined
  /** One timer for all that wait. */
  const whenLater = (): Promise<void> => {
    later ??= sleep(laterMs).then(() => {
      later = undefined
    })
    return later
  }

  const encoderOf = (span: AttachmentSpan): OpenedEncoder | undefined => {
    const adapter = adapterOf(span)
    return adapter === undefined ? own : (adapted.get(adapter.key)?.encoder ?? undefined)
  }

  return {
    runtimes: own.runtimes,
    uncalibrated: own.uncalibrated,
    get busy() {
      return all().some(({ busy }) => busy)
    },
    get cachedBytes() {
      return own.cachedBytes
    },
    cached: (key) => own.cached(key),
    opening(span) {
      const adapter = adapterOf(span)
      if (adapter === undefined) return null
      const known = adapted.get(adapter.key)
      if (known !== undefined) return known.encoder === null && known.failure === undefined ? known.opening : null
      return makeSpace() ? open(adapter).opening : whenLater()
    },
    has: (span) => encoderOf(span)?.has(span) ?? false,
    async encode(span, bytes) {
      const adapter = adapterOf(span)
      if (adapter === undefined) return own.encode(span, bytes)
      const one = adapted.get(adapter.key) ?? open(adapter)
      await one.opening
      if (one.encoder === null) {
        close(one)
        throw one.failure
      }
      adapted.delete(one.key)
      adapted.set(one.key, one)
      one.isUsed = true
      return one.encoder.encode(span, bytes)
    },
    letGo: (span) => encoderOf(span)?.letGo(span),
    adopt(choice, modality) {
      own.adopt(choice, modality)
      // They have the forms of the model's own.
      for (const one of [...adapted.values()]) close(one)
    },
    giveWay(decoding) {
      givesWay = decoding
      for (const encoder of all()) encoder.giveWay(decoding)
    },
    close() {
      for (const encoder of all()) encoder.close()
    },
  }
}

const adapterOf = (span: AttachmentSpan): VisionAdapter | undefined =>
  span.kind === 'image' ? span.adapter : undefined

/** Time after which a span looks again for space, in ms. */
const laterMs = 20

function unusable(error: unknown): unknown {
  if (!(error instanceof OrielError)) return error
  return new OrielError('precondition_failed', `The adapter cannot be used for images. ${error.message}`, {
    ...{ param: 'model', code: 'adapter_unusable' },
    cause: error,
  })
}
