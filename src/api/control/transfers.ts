import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import type { AnswerServices } from '../answering/answer.ts'
import { readBytes, unhurried } from '../body/read-body.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { invalidValue } from '../request/validation.ts'
import { place } from './resources.ts'

/** Of a dataset: another one may have its name later. */
const dataset = { account: z.string(), dataset: z.string(), uid: z.string() }
const file = { file: z.string() }

/** What a signed URL allows to whoever has it. */
const grant = z.discriminatedUnion('does', [
  z.object({ does: z.literal('send'), upload: z.string(), model: z.string(), ...file, bytes: z.number() }),
  z.object({ does: z.literal('fetch'), model: z.string(), ...file }),
  z.object({ does: z.literal('send_dataset'), ...dataset, ...file, bytes: z.number() }),
  z.object({ does: z.literal('fetch_dataset'), ...dataset, ...file }),
  z.object({ does: z.literal('fetch_metrics'), account: z.string(), job: z.string(), ...file }),
])
const signed = z.object({ grant, until: z.number() })
type Grant = z.output<typeof grant>

/** How long a URL may be used, in ms. What has begun by then goes on. */
const validMs = 12 * 3_600_000
/** URLs are of one run of the server. */
const secret = randomBytes(32)

/** The URL for one transfer, at the address that the client asked. */
export function signedUrl({ headers, protocol }: FastifyRequest, grant: Grant): string {
  // A proxy in front of the server is what its clients reach. A lie about it is told to oneself only.
  const { 'x-forwarded-proto': scheme = protocol, 'x-forwarded-host': host = headers.host } = headers
  const origin = `${String(scheme).split(',')[0]}://${String(host).split(',')[0]}`
  if (!/^https?:/.test(origin) || !URL.canParse(origin)) throw invalidValue(undefined, 'The request names no host.')
  const text = Buffer.from(JSON.stringify({ grant, until: Date.now() + validMs })).toString('base64url')
  return `${new URL(origin).origin}/v1/transfers/${encodeURIComponent(grant.file)}?ticket=${text}.${signatureOf(text)}`
}

const one = { ...place, scope: null, isHidden: true, path: '/transfers/{file}', pattern: '/transfers/*' } as const
const nothing = z.strictObject({})

/** Where the files of models and datasets are sent and fetched. The signature in the URL is the key. */
export const transferEndpoints: readonly Endpoint[] = [
  {
    ...one,
    method: 'PUT',
    takes: 'bytes',
    summary: 'Send a file of an upload',
    answer: nothing,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof nothing>> => {
        const { raw } = request
        const expected = granted(request, 'send', 'send_dataset')
        const declared = raw.headers['content-length']
        if (declared !== undefined && Number(declared) !== expected.bytes)
          throw new OrielError(
            'invalid',
            `${expected.file} was announced with ${expected.bytes} bytes; found the header content-length: ${Number(declared)}.`,
            { code: 'wrong_size' },
          )
        unhurried.add(raw.socket)
        try {
          await receive(services, expected, (write) => readBytes(raw, write))
        } finally {
          unhurried.delete(raw.socket)
        }
        return {}
      },
  },
  {
    ...one,
    method: 'GET',
    summary: 'Fetch a file of a model, of a dataset or of a job',
    answer: null,
    otherType: 'application/octet-stream',
    handler:
      ({ services }) =>
      async (request, reply) => {
        const found = await fileOf(services, granted(request, 'fetch', 'fetch_dataset', 'fetch_metrics'))
        return reply
          .headers({ 'content-length': found.bytes, 'content-disposition': 'attachment' })
          .type('application/octet-stream')
          .send(found.open())
      },
  },
]

type GrantTo<Does extends Grant['does']> = Extract<Grant, { does: Does }>

async function receive(
  { machine, tuning }: AnswerServices,
  expected: GrantTo<'send' | 'send_dataset'>,
  source: (write: (bytes: Buffer) => Promise<void>) => Promise<void>,
): Promise<void> {
  if (expected.does === 'send') return machine.uploads.receive(expected, source)
  const { account, dataset, uid, file: name, bytes } = expected
  await tuning.datasets.receive(await tuning.datasets.find(account, dataset, uid), { name, bytes }, source)
}

/** @throws OrielError `not_found` */
async function fileOf(
  { machine, tuning }: AnswerServices,
  wanted: GrantTo<'fetch' | 'fetch_dataset' | 'fetch_metrics'>,
): Promise<{ bytes: number; open(): Readable }> {
  if (wanted.does === 'fetch_dataset')
    return tuning.datasets.file(await tuning.datasets.find(wanted.account, wanted.dataset, wanted.uid))
  if (wanted.does === 'fetch_metrics') return tuning.jobs.historyFile({ account: wanted.account, id: wanted.job })
  const found = (await machine.files(wanted.model)).find(({ name }) => name === wanted.file)
  if (found === undefined)
    throw new OrielError('not_found', 'The model has no such file any more.', { code: 'file_not_found' })
  return found
}

/** What the URL of a request allows. @throws OrielError `forbidden` */
function granted<Does extends Grant['does']>({ query }: FastifyRequest, ...allowed: readonly Does[]): GrantTo<Does> {
  const { ticket } = query as { ticket?: unknown }
  const [text = '', signature = ''] = String(ticket).split('.')
  const [given, right] = [Buffer.from(signature), Buffer.from(signatureOf(text))]
  const isSigned = given.length === right.length && timingSafeEqual(given, right)
  const { data } = signed.safeParse(isSigned ? parseJson(Buffer.from(text, 'base64url').toString()) : undefined)
  const does = allowed.find((one) => one === data?.grant.does)
  if (data === undefined || does === undefined)
    throw new OrielError('forbidden', 'This server has not signed this URL since it started. Ask for a new one.', {
      code: 'bad_signature',
    })
  if (data.until < Date.now())
    throw new OrielError('forbidden', 'The URL has expired. Ask for a new one.', { code: 'expired_url' })
  return data.grant as GrantTo<Does>
}

const signatureOf = (text: string): string => createHmac('sha256', secret).update(text).digest('base64url')
