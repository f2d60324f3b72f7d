import type { FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'

/**
 * Who sends a request, for sharing the server fairly: the address, and for IPv6 its /64, which one person has whole.
 * Keys do not count while any key is accepted, because a client could be as many as it likes.
 */
export function clientOf({ ip }: Pick<FastifyRequest, 'ip'>): string {
  if (!ipaddr.isValid(ip)) return ip
  const address = ipaddr.process(ip)
  if (!(address instanceof ipaddr.IPv6)) return address.toString()
  return ipaddr.IPv6.networkAddressFromCIDR(`${address}/64`).toString()
}
