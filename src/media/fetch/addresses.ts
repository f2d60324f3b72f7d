import ipaddr from 'ipaddr.js'

/** Decides which addresses may be fetched from. */
export type AddressCheck = (address: string) => boolean

/**
 * Only addresses of the public internet pass, without those of clouds' platforms, and those that `allowed` lists.
 * Addresses that carry an IPv4 address inside (mapped, 6to4, NAT64, Teredo) are refused whatever is inside: no public host
 * needs them.
 * @param allowed addresses or CIDR ranges. @throws Error for an entry that is neither
 */
export function publicAddresses(allowed: readonly string[]): AddressCheck {
  const ranges = allowed.map((entry) => (entry.includes('/') ? ipaddr.parseCIDR(entry) : wholeAddress(entry)))
  return (address) => {
    if (!ipaddr.isValid(address)) return false
    const parsed = ipaddr.parse(address)
    if (ranges.some(([base, bits]) => base.kind() === parsed.kind() && parsed.match(base, bits))) return true
    if (platform.includes(parsed.toNormalizedString())) return false
    // ipaddr.js calls what no registry has set apart "unicast": that is the public internet.
    return parsed.range() === 'unicast' && (parsed.kind() === 'ipv4' || parsed.match(globalUnicast))
  }
}

/** Addresses of the public range where a cloud's machines find its platform: Azure's agent, with their secrets. */
const platform = ['168.63.129.16']

/** The part of IPv6 that is given out (RFC 4291 and IANA's registry): everything else is none of the internet's. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')

function wholeAddress(entry: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  const address = ipaddr.parse(entry)
  return [address, address.kind() === 'ipv4' ? 32 : 128]
}
