import { domainToASCII } from 'node:url'
import ipaddr from 'ipaddr.js'

export type AddressCheck = (address: string) => boolean

/**
 * Allows the addresses of the public internet, except those of cloud platforms, and the addresses in `allowed`. IPv6
 * addresses that embed an IPv4 address (mapped, 6to4, NAT64, Teredo) are refused whatever they embed: no public host needs
 * them.
 * @param allowed addresses or CIDR ranges. @throws Error for an entry that is neither
 */
export function publicAddresses(allowed: readonly string[]): AddressCheck {
  const ranges = allowed.map((entry) => (entry.includes('/') ? ipaddr.parseCIDR(entry) : singleAddress(entry)))
  return (address) => {
    if (!ipaddr.isValid(address)) return false
    const parsed = ipaddr.parse(address)
    if (ranges.some(([base, bits]) => base.kind() === parsed.kind() && parsed.match(base, bits))) return true
    if (cloudPlatform.includes(parsed.toNormalizedString())) return false
    // ipaddr.js returns "unicast" for an address in no special-purpose range.
    return parsed.range() === 'unicast' && (parsed.kind() === 'ipv4' || parsed.match(globalUnicast))
  }
}

/** Public addresses at which a virtual machine reaches its cloud platform and its secrets: Azure's WireServer. */
const cloudPlatform = ['168.63.129.16']

/** The allocated part of IPv6 (RFC 4291 and the IANA registry). */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')

function singleAddress(entry: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  const address = ipaddr.parse(entry)
  return [address, address.kind() === 'ipv4' ? 32 : 128]
}

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
