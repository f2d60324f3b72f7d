import { Busboy, type BusboyFileStream } from '@fastify/busboy'
import type { FastifyRequest } from 'fastify'
import { cancelled } from '../../errors.ts'
import { notForm } from './content-types.ts'
import { formLimits, invalidForm } from './form-reader.ts'
import { readBytes, unhurried } from './read-body.ts'

/** A file of a form, as its bytes arrive. */
export interface ArrivingFile {
  readonly name: string
  /** Gives all bytes to `write`, one call after the other. */
  source(write: (bytes: Buffer) => Promise<void>): Promise<void>
}

/**
 * Reads a form whose file may be larger than memory. Fields may come before the file and after it.
 * @param receive is given the file while it arrives, and takes all of it
 * @returns the fields
 * @throws OrielError `unsupported_media`, `invalid` for what is no form or has no file; `timeout`, `cancelled`; as `receive` does
 */
export async function readFileForm(
  { raw, headers }: FastifyRequest,
  receive: (file: ArrivingFile) => Promise<void>,
): Promise<Readonly<Record<string, string>>> {
  const contentType = headers['content-type'] ?? ''
  if (!/^multipart\/form-data\b/i.test(contentType)) throw notForm()
  const form = openForm(contentType)
  const fields: Record<string, string> = Object.create(null)
  let receiving: Promise<void> | undefined
  let stream: BusboyFileStream | undefined
  const ended = new Promise<void>((resolve, reject) => {
    form
      .on('field', (name, value, _, isCut) => {
        if (isCut) reject(invalidForm(`a field has more than ${formLimits.fieldSize} bytes`))
        else fields[name ?? ''] = value
      })
      .on('file', (name, file, filename) => {
        stream = file
        file.on('error', () => {})
        if (name !== 'file') return reject(invalidForm('its file must be in the field "file"'))
        receiving = receive({ name: filename ?? '', source: (write) => forEachChunk(file, write) })
        receiving.catch(reject)
      })
      .on('filesLimit', () => reject(invalidForm(`it has more than ${formLimits.files} file`)))
      .on('fieldsLimit', () => reject(invalidForm(`it has more than ${formLimits.fields} fields`)))
      .on('partsLimit', () => reject(invalidForm(`it has more than ${formLimits.parts} parts`)))
      .on('error', () => reject(invalidForm('it is damaged or incomplete')))
      .on('finish', resolve)
  })
  ended.catch(() => {})
  unhurried.add(raw.socket)
  try {
    await readBytes(raw, async (chunk) => {
      // A slow disk stops the client.
      const taken = new Promise<void>((resolve) => void form.write(chunk, () => resolve()))
      await Promise.race([taken, ended])
    })
    form.end()
    await ended
    if (receiving === undefined) throw invalidForm('it has no file in the field "file"')
    await receiving
    return fields
  } catch (error) {
    // What receives the file must not wait for the rest.
    stream?.destroy(cancelled())
    await receiving?.catch(() => {})
    throw error
  } finally {
    unhurried.delete(raw.socket)
  }
}

function openForm(contentType: string): InstanceType<typeof Busboy> {
  try {
    return new Busboy({ headers: { 'content-type': contentType }, limits: formLimits })
  } catch {
    throw invalidForm('its content-type names no boundary')
  }
}

async function forEachChunk(file: BusboyFileStream, act: (chunk: Buffer) => Promise<void>): Promise<void> {
  for await (const chunk of file as AsyncIterable<Buffer>) await act(chunk)
}
