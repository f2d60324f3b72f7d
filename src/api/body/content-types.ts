import { OrielError } from '../../errors.ts'

/** Errors about bodies that are of another type than an endpoint takes. */

export const notJson = (): OrielError =>
  new OrielError(
    'unsupported_media',
    'The request body must be JSON, with the header content-type: application/json.',
    { code: 'unsupported_content_type' },
  )

/** Bodies that a client has compressed are not unpacked: a small one may become huge. */
export const isEncoded = (encoding = 'identity'): boolean => encoding.trim().toLowerCase() !== 'identity'

export const encoded = (): OrielError =>
  new OrielError(
    'unsupported_media',
    'The request body must be sent as it is, without compression: leave out the header content-encoding.',
    { code: 'unsupported_content_encoding' },
  )

export const notForm = (): OrielError =>
  new OrielError(
    'unsupported_media',
    'The request body must be a form, with the header content-type: multipart/form-data, and the file in its field "file".',
    { code: 'unsupported_content_type' },
  )
