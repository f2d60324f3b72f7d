import type { IncomingHttpHeaders } from 'node:http'
import { administration } from './administration.ts'
import { anthropic } from './anthropic.ts'
import type { Dialect } from './dialect.ts'
import { fireworks, fireworksAccounts } from './fireworks.ts'
import { novita } from './novita.ts'
import { ollama } from './ollama.ts'
import { openai } from './openai.ts'

/** The dialects that speak OpenAI's protocols. The first one that has a base owns it. */
export const openaiDialects: readonly Dialect[] = [openai, fireworks, novita]

/** All dialects that the server speaks. Anthropic's endpoints are below every base, as its clients and proxies expect. */
export const dialects: readonly Dialect[] = [
  ...openaiDialects,
  { ...anthropic, bases: openaiDialects.filter((one) => one !== fireworks).flatMap(({ bases }) => bases) },
  { ...anthropic, bases: fireworks.bases, defaults: { ...anthropic.defaults, requiresMaxTokens: false } },
  fireworksAccounts,
  ollama,
  administration,
]

/** The dialect of URLs that are below no base. */
export const defaultDialect = openai

/** The dialect whose clients send a header of their own. They read its errors only, whatever URL they ask. */
export const markedDialect = (headers: IncomingHttpHeaders): Dialect | undefined =>
  dialects.find(({ marker }) => marker !== undefined && marker in headers)

/** Every base with the dialect that owns it. */
export const bases: ReadonlyMap<string, Dialect> = ownersOf(dialects)

function ownersOf(all: readonly Dialect[]): Map<string, Dialect> {
  const owners = new Map<string, Dialect>()
  for (const dialect of all) for (const base of dialect.bases) if (!owners.has(base)) owners.set(base, dialect)
  return owners
}
