/** A part of the body of a request. */
export type Fields = Readonly<Record<string, unknown>>
