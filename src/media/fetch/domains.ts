import { domainToASCII } from 'node:url'

export type HostCheck = (host: string) => boolean

/**
 * An entry matches the domain and its subdomains: `example.com` also matches `cdn.example.com`.
 * @param allowed an empty list allows every host. @param denied takes precedence over `allowed`
 */
export function allowedDomains(allowed: readonly string[], denied: readonly string[]): HostCheck {
  const matcherOf = (entries: readonly string[]): HostCheck => {
    const domains = entries.map(normalized)
    return (host) => domains.some((domain) => host === domain || host.endsWith(`.${domain}`))
  }
  const [isAllowed, isDenied] = [matcherOf(allowed), matcherOf(denied)]
  return (host) => (allowed.length === 0 || isAllowed(normalized(host))) && !isDenied(normalized(host))
}

/** `Bücher.example.` -> `xn--bcher-kva.example` */
const normalized = (name: string): string => (domainToASCII(name) || name.toLowerCase()).replace(/\.$/, '')
