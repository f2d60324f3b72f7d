import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { platform } from 'node:os'
import type { AttachmentKind } from '../../attachments.ts'
import { fromWire, lowerPriority, readFrames, socketOf, startProcess, writeFrame } from '../../children/index.ts'
import type { MediaConfig } from '../../config.ts'
import { type Deferred, deferred } from '../../deferred.ts'
import { OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { residentBytes } from '../../memory.ts'
import { programFile } from '../../places.ts'
import { processorMs } from '../../processors.ts'
import { needsMemory } from './needs-memory.ts'
import type { FileOut, Part } from './parts.ts'
import {
  type DecodeOptions,
  type FileHeader,
  type FromDecoder,
  type ImageFile,
  type ImagesHeader,
  type PartHead,
  type Size,
  socketFd,
  type ToDecoder,
} from './protocol.ts'

/** The bytes of a file; or a `data:` URL or plain base64, which the decoder turns into bytes. */
export interface FileToDecode {
  readonly payload: Uint8Array | string
  readonly options: DecodeOptions
}

export interface DecodedFile {
  readonly header: FileHeader
  readonly parts: readonly Part[]
  /** Instead of parts, if files are wanted. */
  readonly files: readonly FileOut[]
}

/** `rgb` is `[height, width, 3]`. */
export interface RawImage extends Size {
  readonly rgb: Uint8Array
}

export type DecoderSettings = Pick<
  MediaConfig,
  'decodeTimeoutMs' | 'recordingDecodeTimeoutMs' | 'recordingMemoryBytes' | 'ffmpeg'
>

/** The time limit for the start of a process, in ms; long, because the machine may be busy. */
const startTimeoutMs = 30_000

/**
 * The niceness of decoders: running answers go first. Those with a video, with audio or with a slow image have a fifth of a
 * core that other decoders use: most images take milliseconds, a video takes a second, and streams stutter beside it.
 */
const priorities = { usual: 8, low: 15 }

/** The server's side of one decoder process, which decodes one file at a time. */
export class DecoderProcess {
  readonly #child: ChildProcess
  readonly #socket: Socket
  readonly #settings: DecoderSettings
  readonly #log: Logger | undefined
  /** Whatever an idle process says, something in it goes on that should have ended. */
  #onMessage: (message: FromDecoder, payload: Buffer) => void = () => this.kill()
  #onEnd: (error: OrielError) => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #watchTimer: NodeJS.Timeout | undefined
  /** Memory that the current file may take, in bytes, and what the process had before it. */
  #memory = { most: 0, before: 0 }
  #alive = true
  #isStarted = false
  #isLow = false
  /** Of the current file. */
  #kind: AttachmentKind = 'image'
  #stderr = ''
  /** Codecs of videos and audio write on stderr what a client has put into a file, which is not logged, then or later. */
  #hadRecording = false

  /** @throws Error that says in one line why the process does not start */
  static async start(settings: DecoderSettings, log: Logger | undefined): Promise<DecoderProcess> {
    const decoder = new DecoderProcess(settings, log)
    await decoder
      .#exchange<void>(startTimeoutMs, (message, started) => {
        if (message.type === 'ready') started.resolve()
      })
      .catch((cause: Error) => {
        // Of what Node prints about an error, one line names it: a package that is missing, for example.
        const [reason = cause.message] = /^\w*Error\b.*$/m.exec(decoder.#stderr) ?? []
        throw new Error(reason, { cause })
      })
    decoder.#isStarted = true
    return decoder
  }

  private constructor(settings: DecoderSettings, log: Logger | undefined) {
    this.#settings = settings
    this.#log = log
    this.#child = startProcess(programFile('media/decoder/process'), {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      // The decoder gets no keys or tokens of the server's environment.
      env: {
        PATH: process.env.PATH,
        UV_THREADPOOL_SIZE: '2',
        // The FFmpeg inside the package, and never another one with other codecs.
        NODE_WEBCODECS_FORCE: 'static',
        ORIEL_RECORDING_MEMORY: String(settings.recordingMemoryBytes),
        ...(settings.ffmpeg === null ? {} : { ORIEL_FFMPEG: settings.ffmpeg }),
      },
    })
    if (this.#child.pid !== undefined) lowerPriority(this.#child.pid, priorities.usual)
    this.#socket = socketOf(this.#child, socketFd)
    readFrames(this.#socket, { onFrame: (message, payload) => this.#onMessage(message as FromDecoder, payload) })
    this.#socket.on('error', () => this.kill())
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-2000)
    })
    this.#child.on('error', (error) => this.#ended(error.message, stopped('file')))
    this.#child.on('exit', (code, signal) =>
      this.#ended(
        signal ?? `exit code ${code}`,
        signal !== null && fromOutside.has(signal) ? stopped(this.#kind) : crashed(this.#kind),
      ),
    )
    this.#keepRunning(false)
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Whether it has the lower priority. Only a privileged process could raise it again. */
  get isLow(): boolean {
    return this.#isLow
  }

  /** Gives it the lower priority from now on. */
  lowerPriority(): void {
    const { pid } = this.#child
    if (pid === undefined || !this.#alive) return
    this.#isLow = true
    lowerPriority(pid, priorities.low)
  }

  /**
   * Decodes one file within the time limit, which covers all its pages and excludes the wait for `admit`. A recording that is
   * longer than `usualSeconds` has more time in proportion.
   * @param admit resolves when the file may be decoded, and rejects when it must not be
   * @throws OrielError about the file, or the error of `admit`. Afterwards the process is free, or it is dead.
   */
  decode({ payload, options }: FileToDecode, admit: (header: FileHeader) => Promise<void>): Promise<DecodedFile> {
    let header: FileHeader | undefined
    let refusal: unknown
    const parts: Part[] = []
    const files: FileOut[] = []
    const { kind } = options.wanted
    this.#kind = kind
    this.#hadRecording ||= kind !== 'image'
    let limitMs = kind === 'image' ? this.#settings.decodeTimeoutMs : this.#settings.recordingDecodeTimeoutMs
    let remainingMs = limitMs
    const start = performance.now()
    let told = 0
    const file = this.#exchange<DecodedFile>(limitMs, (message, decoded, data) => {
      told++
      if (message.type === 'header') {
        header = message.header
        clearTimeout(this.#timer)
        remainingMs -= performance.now() - start
        if (header.kind === 'image') this.#memory.most = imageMemory(header)
        else {
          const more = limitMs * Math.max(0, header.seconds / usualSeconds - 1)
          limitMs += more
          remainingMs += more
        }
        const answer = (type: 'go' | 'drop'): void => {
          // The process may have died during the wait.
          if (!this.#alive) return
          this.#startTimer(remainingMs, limitMs)
          this.#send({ type })
        }
        admit(header).then(
          () => answer('go'),
          (error) => {
            refusal = error
            answer('drop')
          },
        )
      } else if (message.type === 'part') {
        const { head } = message
        if (head.kind === 'file') files.push({ head, data })
        else parts.push(partOf(head, data))
      } else if (message.type === 'failed') {
        if (message.worn) this.kill()
        decoded.reject(fromWire(message.error))
      } else if (message.type === 'done') {
        if (message.worn) this.kill()
        if (refusal !== undefined) decoded.reject(refusal)
        else if (header !== undefined) decoded.resolve({ header, parts, files })
      }
    })
    // Allocators do not return what earlier images took.
    if (kind === 'image') this.#memory = { most: imageMemory(), before: residentBytes(this.#child.pid) }
    else this.#memory = { most: this.#settings.recordingMemoryBytes, before: 0 }
    this.#watch(() => told)
    this.#send({ type: 'file', encoding: typeof payload === 'string' ? 'url' : 'bytes', options }, payload)
    return file
  }

  /** Writes an image as a file, within the time limit. @throws OrielError. Afterwards the process is free, or it is dead. */
  write({ width, height, rgb }: RawImage): Promise<ImageFile> {
    let file: ImageFile | undefined
    const written = this.#exchange<ImageFile>(this.#settings.decodeTimeoutMs, (message, answer, bytes) => {
      if (message.type === 'written') file = { format: message.format, bytes }
      else if (message.type === 'failed' || message.type === 'done') {
        if (message.worn) this.kill()
        if (message.type === 'failed') answer.reject(fromWire(message.error))
        else if (file !== undefined) answer.resolve(file)
      }
    })
    this.#send({ type: 'pixels', size: { width, height } }, rgb)
    return written
  }

  kill(): void {
    // The id of a process that has ended may be another's.
    if (!this.#alive) return
    this.#alive = false
    this.#child.kill('SIGKILL')
    this.#killGroup()
  }

  /** Ends what the process has started, in whatever way it ended itself: it has a process group of its own. */
  #killGroup(): void {
    const { pid } = this.#child
    if (pid === undefined || platform() === 'win32') return
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {}
  }

  /** Handles messages until `onMessage` settles the answer, the process ends, or the time is up. */
  #exchange<T>(
    timeoutMs: number,
    onMessage: (message: FromDecoder, answer: Deferred<T>, payload: Buffer) => void,
  ): Promise<T> {
    const answer = deferred<T>()
    this.#keepRunning(true)
    this.#onMessage = (message, payload) => onMessage(message, answer, payload)
    this.#onEnd = answer.reject
    this.#startTimer(timeoutMs)
    if (!this.#alive) answer.reject(stopped(this.#kind))
    return answer.promise.finally(() => {
      clearTimeout(this.#timer)
      clearInterval(this.#watchTimer)
      this.#keepRunning(false)
      this.#onMessage = () => this.kill()
      this.#onEnd = () => {}
    })
  }

  #send(message: ToDecoder, payload?: Uint8Array | string): void {
    writeFrame(this.#socket, message, payload)
  }

  /** @param limitMs of which these are the rest */
  #startTimer(ms: number, limitMs = ms): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#log?.warn({ timeoutMs: limitMs }, 'decoder process killed: it exceeded its time limit')
      this.kill()
      this.#onEnd(tooSlow(this.#kind, limitMs))
    }, ms)
  }

  /**
   * Kills the process when the file takes too much memory, since how much a video or a page takes is not known before it is
   * decoded, or when it works on a recording and nothing comes of it: damaged files make codecs and readers run in circles.
   * @param told how often it has said that something has
   */
  #watch(told: () => number): void {
    const { pid } = this.#child
    const isImage = this.#kind === 'image'
    let [last, since] = [told(), isImage ? 0 : processorMs(pid)]
    const end = (why: string, error: OrielError): void => {
      this.#log?.warn({ bytes: this.#memory.most, idleMs: mostIdleMs }, `decoder process killed: ${why}`)
      this.kill()
      this.#onEnd(error)
    }
    this.#watchTimer = setInterval(() => {
      const { most, before } = this.#memory
      if (residentBytes(pid) > before + most) return end('it exceeded its memory limit', needsMemory(this.#kind, most))
      if (isImage) return
      const taken = processorMs(pid)
      if (told() !== last) [last, since] = [told(), taken]
      else if (taken - since > mostIdleMs) end('nothing came of its work', stalled(this.#kind))
    }, watchIntervalMs)
  }

  #ended(reason: string, error: OrielError): void {
    if (this.#alive && this.#isStarted)
      this.#log?.warn(
        { reason, stderr: this.#hadRecording ? undefined : this.#stderr },
        'decoder process exited unexpectedly',
      )
    this.#alive = false
    this.#killGroup()
    this.#socket.destroy()
    this.#onEnd(error)
  }

  /** Whether this decoder keeps the server's process from exiting. An idle one does not. */
  #keepRunning(on: boolean): void {
    for (const handle of [this.#child, this.#socket, this.#child.stderr as Socket | null])
      if (on) handle?.ref()
      else handle?.unref()
  }
}

/**
 * The length of a recording, in seconds, for which the time limit is. On a busy machine a slow file gets a thirtieth of a
 * core: five minutes of Opus, which take 2 s, take a minute.
 */
const usualSeconds = 300

/** How often the memory of a process is read, which takes some microseconds. Nothing allocates a gigabyte in this time. */
const watchIntervalMs = 100
/** CPU time without any packet or sample, in ms: no whole file takes a tenth of it. Where it is not known, there is the time limit. */
const mostIdleMs = 10_000

/**
 * Memory that an image may take, in bytes: what its pixels need, of which an AVIF of 10 bits needs most while it is decoded,
 * and what a file may have beside them, such as fonts and pictures of a page.
 */
function imageMemory({ sizes }: Pick<ImagesHeader, 'sizes'> = { sizes: [] }): number {
  const pixels = sizes.map(({ width, height }) => width * height)
  // One is decoded after the other. Those that are done wait to be read.
  return 600_000_000 + 22 * Math.max(0, ...pixels) + 6 * pixels.reduce((sum, count) => sum + count, 0)
}

function partOf(head: PartHead, data: Buffer): Part {
  const bytes = head.kind === 'image' ? head.width * head.height * 3 : head.samples * Float32Array.BYTES_PER_ELEMENT
  if (data.length !== bytes) throw new Error('the decoder sent a wrong number of bytes')
  return { head, data }
}

/** Signals that no decoder sends itself: a person, a service manager, or a system without memory has sent them. */
const fromOutside: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'])

const stopped = (what: string): OrielError =>
  new OrielError('overloaded', `The process that decoded the ${what} was stopped. Send the request again.`, {
    code: 'decoder_stopped',
    retryAfter: 1,
  })

const crashed = (kind: AttachmentKind): OrielError =>
  new OrielError('unreadable_media', `The ${kind} cannot be decoded: the decoder crashed on it.`, {
    code: `invalid_${kind}`,
  })

const stalled = (kind: AttachmentKind): OrielError =>
  new OrielError(
    'unreadable_media',
    `The ${kind} cannot be decoded: the decoder worked on it for ${mostIdleMs / 1000} s and nothing came of it, so its data is damaged.`,
    { code: `invalid_${kind}` },
  )

const tooSlow = (kind: AttachmentKind, ms: number): OrielError =>
  new OrielError(
    'unreadable_media',
    `The ${kind} cannot be decoded: decoding ${kind === 'image' ? 'its selected pages or frames' : 'it'} took longer than ${ms} ms, the limit for one file.`,
    { code: `${kind}_decode_timeout` },
  )
