import { z } from 'zod'
import { attachmentKinds } from './attachments.ts'

const positive = z.number().int().positive()
const flag = z.stringbool().or(z.boolean())
const text = z.string().min(1)

/** The APIs that an upstream may speak. */
export const upstreamApis = [
  'openai',
  'fireworks',
  'novita',
  'anthropic',
  'vllm',
  'sglang',
  'llama-server',
  'ollama',
  'lm-studio',
  'oriel',
] as const

/** A model of an upstream. What is left out is what the upstream says of it. */
const upstreamModel = z.strictObject({
  /** Its name there. */
  id: text,
  /** Its name here. Null: the same. */
  as: text.nullable().default(null),
  /** The kinds of attachments that it reads. */
  inputs: z.array(z.enum(attachmentKinds)).nullable().default(null),
  /** Tokens of prompt and answer together. */
  contextTokens: positive.nullable().default(null),
  /** Of images, in pixels: larger ones are shrunk to it first. */
  longestEdge: positive.nullable().default(null),
})

/** A server elsewhere whose models answer here. */
const upstream = z
  .strictObject({
    /** What the log, the metrics and the list of models call it. */
    name: z
      .string()
      .regex(/^[\w.-]{1,63}$/, 'must have 1 to 63 letters, digits and any of ._-')
      // `oriel/pocket` is a name of Pocket.
      .refine((name) => name !== 'oriel', 'must not be oriel, which models of this machine are named by'),
    /** What its API is below: `http://host:8000`. A `/v1` at the end may be left out. */
    url: z
      .url({ protocol: /^https?$/, error: 'must be like https://api.example.com/v1' })
      .refine(isPlain, 'must have no user, no query and no fragment; a key has its own setting'),
    api: z.enum(upstreamApis),
    key: text.nullable().default(null),
    /** The environment variable that has its key. */
    keyFrom: text.nullable().default(null),
    /** Null: it is asked. */
    models: z
      .array(upstreamModel.or(text.transform((id) => upstreamModel.parse({ id }))))
      .min(1)
      .nullable()
      .default(null),
    /** Its share of the requests for a model that other upstreams have too. */
    weight: z.number().positive().max(1000).default(1),
    /** Whether it gets the URLs of images and fetches them itself. */
    fetchesUrls: flag.default(false),
    connectTimeoutMs: positive.default(3000),
    /** From the request to the first byte of the answer, in which it reads the prompt. */
    firstByteTimeoutMs: positive.default(120_000),
    /** Between two bytes of an answer. */
    idleTimeoutMs: positive.default(60_000),
    /** Requests at the same time. Null: no limit. */
    maxInFlight: positive.nullable().default(null),
    /** A PEM file of certificates that it is trusted by, in addition to those that Node has. */
    ca: text.nullable().default(null),
  })
  .refine(({ key, keyFrom }) => key === null || keyFrom === null, {
    message: 'is one of two: leave out key or keyFrom',
    path: ['keyFrom'],
  })

function isPlain(url: string): boolean {
  // That it is no URL is said already.
  if (!URL.canParse(url)) return true
  const { username, password, search, hash } = new URL(url)
  return [username, password, search, hash].every((part) => part === '')
}

export const upstreams = z.array(upstream).superRefine((all, { addIssue }) => {
  all.forEach(({ name }, at) => {
    if (all.findIndex((one) => one.name === name) < at)
      addIssue({ code: 'custom', message: `is the name of another upstream: ${name}`, path: [at, 'name'] })
  })
})
