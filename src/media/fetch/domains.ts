import { domainToASCII } from 'node:url'

/** Decides which hosts may be fetched from, by name. */
export type HostCheck = (host: string) => boolean

/**
 * An entry stands for itself and everything below it: `example.com` for `cdn.example.com` too.
 * @param allowed empty: all. @param denied wins over `allowed`
 */
export function allowedDomains(allowed: readonly string[], denied: readonly string[]): HostCheck {
  const listed = (entries: readonly string[]) => {
    const domains = entries.map(plain)
    return (host: string): boolean => domains.some((domain) => host === domain || host.endsWith(`.${domain}`))
  }
  const [isAllowed, isDenied] = [listed(allowed), listed(denied)]
  return (host) => (allowed.length === 0 || isAllowed(plain(host))) && !isDenied(plain(host))
}

/** One spelling for each name: `Bücher.example.` -> `xn--bcher-kva.example` */
const plain = (name: string): string => (domainToASCII(name) || name.toLowerCase()).replace(/\.$/, '')
