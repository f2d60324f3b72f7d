import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { OrielError } from '../errors.ts'
import { packageFile } from '../places.ts'
import type { Routes } from './routes.ts'

/** The paths that `web/` shows a page for. `HEAD /` is how Ollama's command asks whether a server is there. */
const pages = ['/', '/library', '/tuning', '/activity', '/keys', '/docs']

/** Where `web/` is built to. */
const folder = fileURLToPath(packageFile('dist/web/'))

/**
 * The pages load nothing from other hosts, run no code that is in a page, and make HTML of text only through their
 * sanitizer. Pictures that a person chooses are blobs.
 */
const policy = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self'", "connect-src 'self'", "font-src 'self'", "manifest-src 'self'"],
  ...["img-src 'self' blob: data:", "media-src 'self' blob:"],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  "require-trusted-types-for 'script'",
  'trusted-types dompurify',
].join('; ')

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.json': 'application/json; charset=utf-8',
}

interface File {
  readonly type: string
  readonly plain: Buffer
  readonly zipped: Buffer
}

/** The pages of a browser. Anybody may load them; what they ask needs a key where other requests do. */
export function addPages(routes: Routes): void {
  let files: Promise<ReadonlyMap<string, File>> | undefined
  const found = async (name: string): Promise<File> => {
    files ??= readFiles().catch((error: unknown) => {
      // The next one who asks tries again.
      files = undefined
      throw error
    })
    const file = (await files).get(name)
    if (file === undefined) throw new OrielError('not_found', 'There is no such file.', { code: 'unknown_url' })
    return file
  }
  for (const page of pages)
    routes.add('GET', page, null, async (request, reply) => {
      reply.header('content-security-policy', policy)
      return sendFile(await found('index.html'), 'no-cache', request, reply)
    })
  // Browsers ask for the second one where no page names the first.
  for (const icon of ['/oriel.svg', '/favicon.ico'])
    routes.add('GET', icon, null, async (request, reply) =>
      sendFile(await found('oriel.svg'), 'max-age=86400', request, reply),
    )
  // Their names change with their content.
  routes.add('GET', '/assets/:name', null, async (request, reply) => {
    const { name } = request.params as { name: string }
    return sendFile(await found(`assets/${name}`), 'max-age=31536000, immutable', request, reply)
  })
}

function sendFile(file: File, caching: string, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const zipped = /\bgzip\b(?! *; *q=0(?:\.0*)? *(?:,|$))/i.test(String(request.headers['accept-encoding']))
  reply.headers({
    'content-type': file.type,
    'cache-control': caching,
    vary: [reply.getHeader('vary'), 'accept-encoding'].filter(Boolean).join(', '),
    'referrer-policy': 'no-referrer',
    ...(zipped ? { 'content-encoding': 'gzip' } : {}),
  })
  return reply.send(zipped ? file.zipped : file.plain)
}

/** All files by their names, which they have below the folder. They are few, and only these can be asked for. */
async function readFiles(): Promise<ReadonlyMap<string, File>> {
  if (!existsSync(folder)) return new Map()
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const read = entries
    .filter((entry) => entry.isFile())
    .map(async (entry): Promise<[string, File]> => {
      const file = path.join(entry.parentPath, entry.name)
      const plain = await readFile(file)
      const type = types[path.extname(file)] ?? 'application/octet-stream'
      return [
        path.relative(folder, file).replaceAll('\\', '/'),
        { type, plain, zipped: await promisify(gzip)(plain, { level: 9 }) },
      ]
    })
  return new Map(await Promise.all(read))
}
