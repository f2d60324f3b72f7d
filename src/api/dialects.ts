/** Whose API a request speaks. They share most of their words; errors and some defaults are each one's own. */
export type Dialect = 'openai' | 'fireworks' | 'novita' | 'anthropic'

/** Where the API lives: the base URLs that each provider's clients have, and their dialect. */
export const bases: Readonly<Record<string, Dialect>> = {
  '/v1': 'openai',
  '/inference/v1': 'fireworks',
  '/openai/v1': 'novita',
  '/openai': 'novita',
  '/v3/openai': 'novita',
}

/** Paths under a base that are Anthropic's, whichever base it is. */
const anthropic = /\/messages(\/count_tokens)?$/

/** @param url of the request, with or without its query */
export function dialectOf(url: string): Dialect {
  const path = url.split('?')[0] ?? ''
  if (anthropic.test(path)) return 'anthropic'
  const base = Object.keys(bases)
    .filter((base) => path === base || path.startsWith(`${base}/`))
    .sort((a, b) => b.length - a.length)[0]
  return (base === undefined ? undefined : bases[base]) ?? 'openai'
}
