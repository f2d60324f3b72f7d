import type { BusboyFileStream } from '@fastify/busboy'
import type { FastifyRequest } from 'fastify'
import { cancelled } from '../../errors.ts'
import { ArrivingForm, invalidForm } from './arriving-form.ts'
import { notForm } from './content-types.ts'
import { readBytes, unhurried } from './read-body.ts'

/** A file of a form, as its bytes arrive. */
export interface ArrivingFile {
  readonly name: string
  /** Gives all bytes to `write`, one call after the other. */
  source(write: (bytes: Buffer) => Promise<void>): Promise<void>
}

/** Beside a file are words like its purpose. The memory for bodies does not count them. */
const limits = { fields: 20, fieldSize: 10_000 }

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
  const fields: Record<string, string> = Object.create(null)
  let receiving: Promise<void> | undefined
  let stream: BusboyFileStream | undefined
  const form = new ArrivingForm(contentType, limits, {
    field: (name, value) => {
      fields[name] = value
    },
    file: (name, file, filename) => {
      stream = file
      file.on('error', () => {})
      if (name !== 'file') return form.fail(invalidForm('its file must be in the field "file"'))
      receiving = receive({ name: filename, source: (write) => forEachChunk(file, write) })
      receiving.catch((error: unknown) => form.fail(error))
    },
  })
  unhurried.add(raw.socket)
  try {
    // A slow disk stops the client.
    await readBytes(raw, (chunk) => form.write(chunk))
    await form.end()
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

async function forEachChunk(file: BusboyFileStream, act: (chunk: Buffer) => Promise<void>): Promise<void> {
  for await (const chunk of file as AsyncIterable<Buffer>) await act(chunk)
}
