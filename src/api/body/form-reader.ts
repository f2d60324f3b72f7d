import type { BusboyFileStream } from '@fastify/busboy'
import { ArrivingForm } from './arriving-form.ts'
import type { BodyReader } from './read-body.ts'

/** A file of a form. */
export class FormFile {
  readonly name: string
  readonly bytes: Uint8Array

  constructor(name: string, bytes: Uint8Array) {
    this.name = name
    this.bytes = bytes
  }
}

/** A text field has a few bytes; a prompt may be long. */
const limits = { fields: 100, fieldSize: 1_000_000 }

/**
 * Reads `multipart/form-data` as it arrives. It becomes an object: a field is a string, one that occurs several times or
 * whose name ends with `[]` is an array of strings, and a file is a `FormFile`.
 */
export class FormReader implements BodyReader {
  readonly #form: ArrivingForm
  readonly #values = new Map<string, string | string[] | FormFile>()
  readonly #declared: number
  /** What has come of the file, and space for what comes. */
  #file: Buffer = Buffer.alloc(0)
  #fileBytes = 0

  /**
   * @param contentType with the boundary
   * @param declared bytes of the form, as far as its client says it; 0: not known
   * @throws OrielError `invalid`
   */
  constructor(contentType: string, declared: number) {
    this.#declared = declared
    this.#form = new ArrivingForm(contentType, limits, {
      field: (name, value) => this.#add(name, value),
      file: (name, stream, filename) => this.#readFile(name, stream, filename),
    })
  }

  get overhead(): number {
    return this.#file.length - this.#fileBytes
  }

  push(chunk: Buffer): Promise<void> {
    return this.#form.write(chunk)
  }

  async end(): Promise<unknown> {
    await this.#form.end()
    return Object.fromEntries(this.#values)
  }

  #add(name: string, value: string): void {
    const plain = name.replace(/\[\]$/, '')
    const before = this.#values.get(plain)
    if (before instanceof FormFile) return
    this.#values.set(plain, before === undefined && plain === name ? value : [before ?? [], value].flat())
  }

  /** Into its place at once: to join the pieces of a whole file would block the event loop. */
  #readFile(name: string, stream: BusboyFileStream, filename: string): void {
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      const bytes = this.#fileBytes + chunk.length
      if (bytes > this.#file.length) this.#grow(this.#file.length < this.#declared ? this.#declared : 2 * bytes)
      chunk.copy(this.#file, this.#fileBytes)
      this.#fileBytes = bytes
    })
    stream.on('end', () => {
      this.#values.set(name, new FormFile(filename, this.#file.subarray(0, this.#fileBytes)))
    })
  }

  #grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(bytes)
    this.#file.copy(larger, 0, 0, this.#fileBytes)
    this.#file = larger
  }
}
