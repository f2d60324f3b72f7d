import type { ChildProcess } from 'node:child_process'
import { Socket } from 'node:net'
import { entryOf, fromWire, startProcess } from '../../children/index.ts'
import { OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { readFrames, writeFrame } from './frames.ts'
import type { DecodeOptions, FileHeader, FromDecoder, PictureHead, ToDecoder } from './protocol.ts'

/** A file's bytes, or a `data:` URL or plain base64 that is undone where it is decoded. */
export interface FileToDecode {
  readonly payload: Uint8Array | string
  readonly options: DecodeOptions
}

export interface DecodedFile {
  readonly header: FileHeader
  readonly pictures: readonly DecodedPicture[]
}

export interface DecodedPicture extends PictureHead {
  /** `[height, width, 3]` */
  readonly rgb: Uint8Array
}

/** Time that a process may take to start on a busy machine, in ms. */
const startTimeoutMs = 30_000

/** The server's side of one decoder: a process that has one file at a time, and that nobody misses when it dies. */
export class DecoderProcess {
  readonly #child: ChildProcess
  readonly #socket: Socket
  readonly #timeoutMs: number
  readonly #log: Logger | undefined
  #onMessage: (message: FromDecoder, payload: Buffer) => void = () => {}
  #onEnd: (error: OrielError) => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #alive = true
  #complaint = ''

  /** @throws OrielError `internal` when it does not start */
  static async start(timeoutMs: number, log: Logger | undefined): Promise<DecoderProcess> {
    const process = new DecoderProcess(timeoutMs, log)
    await process.#exchange<void>(startTimeoutMs, (message, done) => {
      if (message.type === 'ready') done()
    })
    return process
  }

  private constructor(timeoutMs: number, log: Logger | undefined) {
    this.#timeoutMs = timeoutMs
    this.#log = log
    this.#child = startProcess(entryOf(import.meta.url, './process.ts'), {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      // The decoder gets no keys or tokens of the server's environment.
      env: { PATH: process.env.PATH, UV_THREADPOOL_SIZE: '2' },
    })
    this.#socket = channelOf(this.#child)
    readFrames(this.#socket, (message, payload) => this.#onMessage(message as FromDecoder, payload))
    this.#socket.on('error', () => this.kill())
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-2000)
    })
    this.#child.on('error', (error) => this.#ended(error.message))
    this.#child.on('exit', (code, signal) => this.#ended(signal ?? `exit code ${code}`))
    this.#hold(false)
  }

  get alive(): boolean {
    return this.#alive
  }

  /**
   * The time for a file is one for all its pages, less what `admit` takes.
   * @param admit resolves when the file may be decoded, and rejects when it may not
   * @throws OrielError about the file, or what `admit` threw. Afterwards the process is free, or dead.
   */
  decode({ payload, options }: FileToDecode, admit: (header: FileHeader) => Promise<void>): Promise<DecodedFile> {
    let header: FileHeader | undefined
    const pictures: DecodedPicture[] = []
    let left = this.#timeoutMs
    const begun = performance.now()
    const decoded = this.#exchange<DecodedFile>(this.#timeoutMs, (message, done, fail, rgb) => {
      if (message.type === 'header') {
        header = message.header
        this.#stopTimer()
        left -= performance.now() - begun
        const decide = (type: 'go' | 'drop'): void => {
          // It may have died while it waited.
          if (!this.#alive) return
          this.#startTimer(left)
          this.#send({ type })
        }
        admit(header).then(
          () => decide('go'),
          (error) => {
            refusal = error
            decide('drop')
          },
        )
      } else if (message.type === 'picture') {
        pictures.push(pictureOf(message.head, rgb))
      } else if (message.type === 'failed') {
        if (message.worn) this.kill()
        fail(fromWire(message.error))
      } else if (message.type === 'done') {
        if (message.worn) this.kill()
        if (refusal !== undefined) fail(refusal)
        else if (header !== undefined) done({ header, pictures })
      }
    })
    let refusal: unknown
    const encoding = typeof payload === 'string' ? 'url' : 'bytes'
    this.#send({ type: 'file', encoding, options }, payload)
    return decoded
  }

  kill(): void {
    this.#alive = false
    this.#child.kill('SIGKILL')
  }

  /** Runs until `onMessage` calls one of its functions, the process dies, or the time is over. */
  #exchange<T>(
    timeoutMs: number,
    onMessage: (
      message: FromDecoder,
      done: (value: T) => void,
      fail: (error: unknown) => void,
      payload: Buffer,
    ) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const over = (): void => {
        this.#stopTimer()
        this.#hold(false)
        this.#onMessage = () => {}
        this.#onEnd = () => {}
      }
      const done = (value: T): void => {
        over()
        resolve(value)
      }
      const fail = (error: unknown): void => {
        over()
        reject(error)
      }
      this.#hold(true)
      this.#onMessage = (message, payload) => onMessage(message, done, fail, payload)
      this.#onEnd = fail
      this.#startTimer(timeoutMs)
      if (!this.#alive) fail(crashed())
    })
  }

  #send(message: ToDecoder, payload?: Uint8Array | string): void {
    writeFrame(this.#socket, message, payload)
  }

  #startTimer(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#log?.warn({ timeoutMs: this.#timeoutMs }, 'a decoder was too slow')
      this.kill()
      this.#onEnd(tooSlow(this.#timeoutMs))
    }, ms)
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
  }

  #ended(how: string): void {
    if (this.#alive) this.#log?.warn({ how, stderr: this.#complaint }, 'a decoder has ended')
    this.#alive = false
    this.#socket.destroy()
    this.#onEnd(crashed())
  }

  /** An idle decoder is no reason for a process to go on. */
  #hold(on: boolean): void {
    for (const handle of [this.#child, this.#socket, this.#child.stderr as Socket | null])
      if (on) handle?.ref()
      else handle?.unref()
  }
}

function channelOf(child: ChildProcess): Socket {
  const channel = child.stdio[3]
  if (!(channel instanceof Socket)) throw new OrielError('internal', 'The decoder cannot be reached.')
  return channel
}

function pictureOf(head: PictureHead, rgb: Buffer): DecodedPicture {
  if (rgb.length !== head.width * head.height * 3) throw new Error('the pixels are not as many as their size says')
  return { ...head, rgb }
}

const crashed = (): OrielError =>
  new OrielError('unreadable_media', 'The picture cannot be decoded: the decoder stopped on it.', {
    code: 'invalid_image',
  })

const tooSlow = (ms: number): OrielError =>
  new OrielError(
    'unreadable_media',
    `The picture cannot be decoded: its file, with all frames or pages that were chosen, took longer than ${ms} ms, which is the most.`,
    {
      code: 'image_decode_timeout',
    },
  )
