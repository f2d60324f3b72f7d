import type { FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'

/**
 * Who sends a request, for sharing the server fairly: the account of its key, or its address, and for IPv6 its /64, which
 * one person has whole. A key counts only on a server that needs keys: elsewhere a client could be as many as it likes.
 */
export function clientOf({ ip, identity }: Pick<FastifyRequest, 'ip' | 'identity'>): string {
  if (identity.key !== null) return `account ${identity.account}`
  if (!ipaddr.isValid(ip)) return ip
  const address = ipaddr.process(ip)
  if (!(address instanceof ipaddr.IPv6)) return address.toString()
  return ipaddr.IPv6.networkAddressFromCIDR(`${address}/64`).toString()
}
