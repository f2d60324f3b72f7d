import { Busboy, type BusboyFileStream } from '@fastify/busboy'
import { deferred } from '../../deferred.ts'
import { OrielError } from '../../errors.ts'

/** What is in a form, told as it arrives. */
interface FormParts {
  field(name: string, value: string): void
  file(name: string, stream: BusboyFileStream, filename: string): void
}

interface FormLimits {
  readonly fields: number
  /** Bytes of each. */
  readonly fieldSize: number
}

const files = 1

/** `multipart/form-data` that is parsed as it arrives. */
export class ArrivingForm {
  readonly #form: InstanceType<typeof Busboy>
  readonly #ended = deferred<void>()
  #fault: { readonly error: unknown } | undefined
  /** Ends the wait for what is being written. */
  #stop = (_error: unknown): void => {}

  /** @param contentType with the boundary @throws OrielError `invalid` */
  constructor(contentType: string, { fields, fieldSize }: FormLimits, { field, file }: FormParts) {
    const parts = files + fields
    const limits = { files, fields, parts, fieldSize, headerPairs: 50, headerSize: 16_000 }
    try {
      this.#form = new Busboy({ headers: { 'content-type': contentType }, limits })
    } catch {
      throw invalidForm('its content-type names no boundary')
    }
    const refuse = (fault: string) => (): void => this.fail(invalidForm(fault))
    const tooLong = refuse(`a field has more than ${fieldSize} bytes`)
    this.#form
      .on('field', (name, value, _, isCut) => (isCut ? tooLong() : field(name ?? '', value)))
      .on('file', (name, stream, filename) => file(name ?? '', stream, filename ?? ''))
      .on('filesLimit', refuse(`it has more than ${files} file`))
      .on('fieldsLimit', refuse(`it has more than ${fields} fields`))
      .on('partsLimit', refuse(`it has more than ${parts} parts`))
      .on('error', refuse('it is damaged or incomplete'))
      .on('finish', () => this.#ended.resolve())
    this.#ended.promise.catch(() => {})
  }

  /** The form is wrong: what is being written, and all that follows, is refused with this. */
  fail(error: unknown): void {
    this.#fault ??= { error }
    this.#stop(error)
    this.#ended.reject(error)
  }

  /**
   * Waits until the chunk is taken. Nothing of that wait is left behind: a form may come in millions of chunks.
   * @throws OrielError `invalid`; as `fail` was told
   */
  write(chunk: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#fault !== undefined) return reject(this.#fault.error)
      this.#stop = reject
      this.#form.write(chunk, () => resolve())
    })
  }

  /** All has come. @throws as `write` does */
  async end(): Promise<void> {
    this.#form.end()
    await this.#ended.promise
  }
}

export const invalidForm = (fault: string): OrielError =>
  new OrielError('invalid', `The form cannot be read: ${fault}.`, { code: 'invalid_form' })
