import type { FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'

/**
 * Who sends a request, for sharing the server fairly: the account of its key, or its address. A key counts only on a server
 * that needs keys: elsewhere a client could be as many as it likes.
 */
export const clientOf = ({ ip, identity }: Pick<FastifyRequest, 'ip' | 'identity'>): string =>
  identity.key === null ? addressOf(ip) : `account ${identity.account}`

/** Whether a proxy has passed a request on. */
export const isForwarded = (headers: FastifyRequest['headers']): boolean =>
  ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'].some((name) => name in headers)

/** An address as that of one client: of IPv6 its /64, which one person has whole. */
export function addressOf(ip: string): string {
  if (!ipaddr.isValid(ip)) return ip
  const address = ipaddr.process(ip)
  if (!(address instanceof ipaddr.IPv6)) return address.toString()
  return ipaddr.IPv6.networkAddressFromCIDR(`${address}/64`).toString()
}
