import { OrielError } from '../../errors.ts'

/** Errors about bodies that are of another type than an endpoint takes. */

export const notJson = (): OrielError =>
  new OrielError(
    'unsupported_media',
    'The request body must be JSON, with the header content-type: application/json.',
    { code: 'unsupported_content_type' },
  )

export const notForm = (): OrielError =>
  new OrielError(
    'unsupported_media',
    'The request body must be a form, with the header content-type: multipart/form-data, and the file in its field "file".',
    { code: 'unsupported_content_type' },
  )
