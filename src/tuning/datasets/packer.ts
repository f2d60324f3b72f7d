import { readFile, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { ownClient } from '../../fairness.ts'
import { parseJson } from '../../json.ts'
import { createMedia, type Media, type Reader, stillOf } from '../../media/index.ts'
import { bytesText } from '../../sizes.ts'
import { fail, invalidExample, isObject } from './fields.ts'
import { readLines } from './lines.ts'

/** What a picture of another format becomes. */
const asStill: Omit<Reader, 'mostBytes'> = {
  ...{ formats: ['png', 'jpeg'], longestEdge: null, selects: false, frames: false },
}
/** Files of other formats may be larger than what becomes of them. */
const mostTimesLarger = 8

/**
 * Puts pictures into the lines of a dataset on this machine: where a line names a file, below the folder of the dataset, it
 * has the file as a data URL then. A PNG or JPEG stays as it is; an image of another format is converted.
 */
export class Packer {
  readonly #file: string
  readonly #config: Pick<Config, 'media' | 'server'>
  #media: Media | undefined

  /** @param file the dataset */
  constructor(file: string, config: Pick<Config, 'media' | 'server'>) {
    this.#file = path.resolve(file)
    this.#config = config
  }

  /** All lines of the file, each with its end, and the empty ones: who checks them counts as the person does. @throws OrielError `invalid` that names the line, for a picture that cannot be packed */
  async *lines(): AsyncGenerator<string> {
    const { maxBodyBytes } = this.#config.server
    let last = 0
    for await (const { line, text, bytes } of readLines(this.#file, maxBodyBytes)) {
      if (text === undefined)
        throw new OrielError(
          'invalid',
          `line ${line} has ${bytes} bytes and is no UTF-8, or has more than ${maxBodyBytes}.`,
        )
      const json = parseJson(text)
      const packed = await this.pack(json).catch((error: unknown) => {
        if (!(error instanceof OrielError)) throw error
        throw new OrielError(error.kind, `line ${line}: ${error.message}`, { code: error.code })
      })
      // What is no example is told by the check of the dataset.
      yield `${'\n'.repeat(line - last - 1)}${packed === json ? text : JSON.stringify(packed)}\n`
      last = line
    }
  }

  /**
   * @param json a line
   * @returns it with its pictures; the same value if it names none
   * @throws OrielError `invalid` whose message names the part
   */
  async pack(json: unknown): Promise<unknown> {
    if (!isObject(json) || !Array.isArray(json.messages)) return json
    let isChanged = false
    const messages: unknown[] = []
    for (const [at, message] of json.messages.entries()) {
      if (!isObject(message) || !Array.isArray(message.content)) {
        messages.push(message)
        continue
      }
      const content: unknown[] = []
      for (const [index, part] of message.content.entries()) {
        const packed = await this.#part(part, `messages[${at}].content[${index}].image_url`)
        isChanged ||= packed !== part
        content.push(packed)
      }
      messages.push({ ...message, content })
    }
    return isChanged ? { ...json, messages } : json
  }

  /** Ends what was started for conversions. */
  async close(): Promise<void> {
    await this.#media?.close()
  }

  async #part(part: unknown, param: string): Promise<unknown> {
    if (!isObject(part) || part.type !== 'image_url') return part
    const { image_url: given } = part
    const url = isObject(given) ? given.url : given
    if (typeof url !== 'string' || hasScheme(url)) return part
    const packed = await this.#dataUrl(url, isObject(given) ? `${param}.url` : param)
    return { ...part, image_url: isObject(given) ? { ...given, url: packed } : packed }
  }

  async #dataUrl(name: string, param: string): Promise<string> {
    const bytes = await this.#read(name, param)
    const { format, data } = await this.#still(bytes, param)
    return `data:image/${format};base64,${data}`
  }

  /** @throws OrielError `invalid` for a file elsewhere: a dataset of somebody else must not take what is not part of it */
  async #read(name: string, param: string): Promise<Buffer> {
    const folder = path.dirname(this.#file)
    const missing = (): OrielError => fail(param, `is ${JSON.stringify(name.slice(0, 200))}; there is no such file.`)
    const file = await realpath(path.resolve(folder, name)).catch(() => {
      throw missing()
    })
    const below = path.relative(await realpath(folder), file)
    if (below.startsWith('..') || path.isAbsolute(below))
      throw fail(param, `is ${JSON.stringify(name.slice(0, 200))}; pictures must be below the folder of the dataset.`)
    const found = await stat(file)
    if (!found.isFile()) throw missing()
    const most = this.#config.server.maxBodyBytes * mostTimesLarger
    if (found.size > most) throw fail(param, `is a file of ${bytesText(found.size)}; ${bytesText(most)} are allowed.`)
    return readFile(file)
  }

  async #still(bytes: Buffer, param: string): Promise<{ format: string; data: string }> {
    try {
      return { format: stillOf(bytes).format, data: bytes.toString('base64') }
    } catch (error) {
      if (!(error instanceof OrielError)) throw error
      if (error.kind !== 'unsupported_media') throw fail(param, `cannot be packed. ${error.message}`)
    }
    this.#media ??= createMedia(this.#config.media)
    // As a request of its own, it has its memory until it is over.
    const over = new AbortController()
    const reader = { ...asStill, mostBytes: this.#config.media.maxBase64Bytes }
    try {
      const [sent] = await this.#media.files([{ kind: 'image', param, bytes }], ownClient, () => reader, over.signal)
      const [file, ...others] = sent?.files ?? []
      if (file === undefined || others.length > 0)
        throw fail(param, `has ${others.length + 1} pages; a picture has one.`)
      return { format: file.format, data: file.base64.toString('latin1') }
    } catch (error) {
      if (!(error instanceof OrielError) || error.code === invalidExample) throw error
      throw fail(param, `cannot be packed. ${error.message}`)
    } finally {
      over.abort()
    }
  }
}

/** Whether it is a URL. A drive of Windows has one letter. */
const hasScheme = (url: string): boolean => /^[a-z][a-z0-9+.-]+:/i.test(url)
