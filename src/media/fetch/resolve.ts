import { lookup, Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Resolve } from './download.ts'

/** Of one question in ms, doubled with each further try: a lost packet costs little, and servers that are silent are left. */
const patience = { timeout: 500, tries: 4 }

/**
 * Resolves by the hosts file, or else by the name servers. The system's resolver has two threads for the whole process,
 * and a few names whose servers never answer would hold both for minutes: it is asked only about what name servers do not
 * know, which may be a name of the local network.
 * @param nameServers in place of the machine's own
 * @returns what throws an Error where a name has no address
 */
export function resolver(nameServers?: readonly string[]): Resolve {
  return async (host) => {
    const written = inHosts(await readFile('/etc/hosts', 'utf8').catch(() => ''), host)
    if (written.length > 0) return written
    // A new one knows what has become of the machine's network.
    const servers = new Resolver(patience)
    if (nameServers !== undefined) servers.setServers(nameServers)
    const answers = await Promise.allSettled([servers.resolve4(host), servers.resolve6(host)])
    const found = answers.flatMap((answer, index) =>
      answer.status === 'fulfilled' ? answer.value.map((address) => ({ address, family: index === 0 ? 4 : 6 })) : [],
    )
    if (found.length > 0) return found
    for (const answer of answers) if (answer.status === 'rejected' && isSilence(answer.reason)) throw answer.reason
    return lookup(host, { all: true, verbatim: true })
  }
}

const isSilence = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ETIMEOUT' || error.code === 'ESERVFAIL')

/** @param text lines of an address and its names, as in hosts(5) */
function inHosts(text: string, host: string): { address: string; family: number }[] {
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = (line.split('#')[0] ?? '').trim().split(/\s+/)
    const meant = isIP(address) !== 0 && names.some((name) => name.toLowerCase() === host.toLowerCase())
    return meant ? [{ address, family: isIP(address) }] : []
  })
}
