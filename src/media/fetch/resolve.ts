import { lookup, Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Resolve } from './download.ts'

/** The timeout of the first DNS query, in ms; each retry doubles it. Short, so that a lost packet costs little. */
const queryOptions = { timeout: 500, tries: 4 }

/**
 * Resolves host names by the hosts file, then by the name servers. The system's resolver is asked only for names that
 * the name servers do not know, which may be names of the local network: it has few threads for the whole process, and
 * names whose servers never answer would block them for minutes.
 * @param nameServers replace those of the machine
 * @returns a function that throws an Error for a name without an address
 */
export function resolver(nameServers?: readonly string[]): Resolve {
  return async (host) => {
    const local = inHosts(await readFile('/etc/hosts', 'utf8').catch(() => ''), host)
    if (local.length > 0) return local
    // A new resolver each time, because it reads the machine's name servers when it is created.
    const dns = new Resolver(queryOptions)
    if (nameServers !== undefined) dns.setServers(nameServers)
    const answers = await Promise.allSettled([dns.resolve4(host), dns.resolve6(host)])
    const found = answers.flatMap((answer, index) =>
      answer.status === 'fulfilled' ? answer.value.map((address) => ({ address, family: index === 0 ? 4 : 6 })) : [],
    )
    if (found.length > 0) return found
    for (const answer of answers) if (answer.status === 'rejected' && isNoAnswer(answer.reason)) throw answer.reason
    return lookup(host, { all: true, verbatim: true })
  }
}

const isNoAnswer = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ETIMEOUT' || error.code === 'ESERVFAIL')

/** @param text lines of an address and its names, as in hosts(5) */
function inHosts(text: string, host: string): { address: string; family: number }[] {
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = (line.split('#')[0] ?? '').trim().split(/\s+/)
    const matches = isIP(address) !== 0 && names.some((name) => name.toLowerCase() === host.toLowerCase())
    return matches ? [{ address, family: isIP(address) }] : []
  })
}
