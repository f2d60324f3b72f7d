/**
 * `encrypted_content` of a thought. A client that stores nothing sends it back, and often nothing else of the thought. It hides
 * nothing: the thought is the client's own, and is beside it.
 */
const prefix = 'oriel-1:'

export const sealed = (thought: string): string => prefix + Buffer.from(thought).toString('base64')

/** @returns null for one that another server has made */
export const unsealed = (content: string): string | null =>
  content.startsWith(prefix) ? Buffer.from(content.slice(prefix.length), 'base64').toString('utf8') : null
