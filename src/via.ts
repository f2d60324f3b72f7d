/** How a server of Oriel names itself in the header `via` (RFC 9110, section 7.6.3). */
const entry = '1.1 oriel'

/** Servers that pass a request on, one to the next. More can only be some that ask each other. */
export const mostHops = 5

/** How many servers of Oriel have passed a request on. @param via of its headers; other servers between them have entries too */
export const hopsIn = (via: string | undefined): number =>
  via === undefined ? 0 : via.split(',').filter((one) => one.trim() === entry).length

/** The header of a request that is passed on. @param hops before this server */
export const viaAfter = (hops: number): string => Array.from({ length: hops + 1 }, () => entry).join(', ')
