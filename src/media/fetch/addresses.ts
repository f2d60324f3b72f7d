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
