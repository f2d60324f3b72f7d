import type { FastifyReply, FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'
import { OrielError } from '../../errors.ts'
import type { AnswerServices } from '../answering/answer.ts'
import { isForwarded } from '../client.ts'
import type { RouteOptions } from '../dialects/dialect.ts'

/**
 * The handler of an endpoint that changes the models or the datasets on the disk. A server without keys lets everyone in who reaches it; this
 * is for its own machine then.
 */
export const onDisk =
  <Answer>(
    act: (
      request: FastifyRequest,
      services: AnswerServices,
      rest: { reply: FastifyReply; options: RouteOptions },
    ) => Promise<Answer>,
  ) =>
  (options: RouteOptions) =>
  async (request: FastifyRequest, reply: FastifyReply): Promise<Answer> => {
    const { services } = options
    if (!isHere(request) && !(await services.accounts.required()))
      throw new OrielError(
        'forbidden',
        'On a server without keys, only its own machine may pull, upload, download and remove models and datasets. With a key of the scope admin, others may too.',
        { code: 'key_needed' },
      )
    return act(request, services, { reply, options })
  }

/** A proxy on this machine passes on what others send. */
const isHere = ({ ip, headers }: FastifyRequest): boolean =>
  ipaddr.isValid(ip) && ipaddr.process(ip).range() === 'loopback' && !isForwarded(headers)
