import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import {
  type Ask,
  type Attachment,
  type ChatMessage,
  type ContentPart,
  endsInAnswer,
  plainSettings,
  ranges,
} from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import { ownClient } from '../fairness.ts'

/** An image, a video or audio as a program has it: a file's path, an http(s) or `data:` URL, or the bytes of a file. */
export type FileInput = string | URL | Uint8Array | Blob

/** An image and how to read it. */
export interface ImagePart {
  type: 'image'
  image: FileInput
  /** The resolution at which the model reads it. Default: `auto`, by size. */
  detail?: 'low' | 'high' | 'auto' | undefined
  /**
   * Pages of a document or frames of an animation: `"1-3,7"`, `"all"`, or a number of them, spread evenly. Default: all
   * pages of a PDF, and the first frame of anything else.
   */
  pages?: string | number | undefined
  /** Pixels that the model sees at least, if it reads images in their own aspect, and at most. */
  minPixels?: number | undefined
  maxPixels?: number | undefined
  /** Tokens of an image in the prompt at most. A model that needs more refuses the question. */
  maxTokens?: number | undefined
}

/** A part of a video or audio, in seconds from its start. Default: all of it. */
export interface Clip {
  start?: number | undefined
  end?: number | undefined
}

/** A video, and which frames of it the model sees. */
export interface VideoPart {
  type: 'video'
  video: FileInput
  /** The resolution at which the model reads its frames. Default: `auto`. */
  detail?: 'low' | 'high' | 'auto' | undefined
  /** Frames at most, and of each second. Default: as the model was trained. */
  maxFrames?: number | undefined
  framesPerSecond?: number | undefined
  /** The longest edge of a frame in pixels. Larger frames are shrunk to it. */
  longestEdge?: number | undefined
  /** Frames spread evenly over time, which is the default, or where the picture changes. */
  choose?: 'even' | 'scenes' | undefined
  clip?: Clip | undefined
}

/** Something to hear. */
export interface AudioPart {
  type: 'audio'
  audio: FileInput
  clip?: Clip | undefined
}

type FilePart = ImagePart | VideoPart | AudioPart

export interface TextPart {
  type: 'text'
  text: string
}

export interface Message {
  role: 'system' | 'user' | 'assistant'
  content: string | readonly (TextPart | FilePart)[]
}

export interface QuestionOptions {
  /** The name of a model or an adapter. Default: the first that the settings name. */
  model?: string | undefined
  /** Images of the question, before its text. Videos and audio follow them. */
  images?: readonly (FileInput | ImagePart)[] | undefined
  videos?: readonly (FileInput | VideoPart)[] | undefined
  audio?: readonly (FileInput | AudioPart)[] | undefined
  system?: string | undefined
  /** Tokens of the answer at most. Default: up to the end of the context. */
  maxTokens?: number | undefined
  /** Default of this and the next four: what the model's makers recommend. */
  temperature?: number | undefined
  topP?: number | undefined
  topK?: number | undefined
  minP?: number | undefined
  /** Equal seeds give equal answers. */
  seed?: number | undefined
  /** Texts that end the answer. */
  stop?: readonly string[] | undefined
  /** JSON Schema that the answer must match. */
  schema?: unknown
  /** Functions that the model may call. */
  tools?: readonly { name: string; description?: string; parameters: Record<string, unknown> }[] | undefined
  /** Whether the finished answer has its boxes and points, in pixels of the images. Default: false. */
  boxes?: boolean | undefined
  /** Ends the answer. */
  signal?: AbortSignal | undefined
}

const { maxTokens, temperature, topP, topK, minP } = ranges

/** Programs in JavaScript have no types that would stop them. */
const checked = z
  .object({
    maxTokens,
    temperature,
    topP,
    topK,
    minP,
    seed: z.int().min(0),
    stop: z.array(z.string().min(1)),
    boxes: z.boolean(),
  })
  .partial()

/** @throws OrielError `invalid` for an option out of its range, `not_found` for a file that cannot be read */
export async function askOf(question: string | readonly Message[], options: QuestionOptions): Promise<Ask> {
  const issue = checked.safeParse(options).error?.issues[0]
  if (issue !== undefined) {
    const param = String(issue.path[0])
    throw new OrielError('invalid', `${param}: ${issue.message}.`, { param, code: 'invalid_value' })
  }
  if (typeof question !== 'string' && question.length === 0)
    throw new OrielError('invalid', 'The conversation has no messages.', { param: 'question', code: 'invalid_value' })
  const { system, schema, tools = [] } = options
  const files = filesOf(options)
  const asked: readonly Message[] =
    typeof question === 'string'
      ? [{ role: 'user', content: [...files.map(({ part }) => part), { type: 'text', text: question }] }]
      : question
  const [first] = files
  if (typeof question !== 'string' && first !== undefined)
    throw new OrielError('invalid', `Put the ${nouns[first.part.type]} of a conversation into its messages.`, {
      // The option, whatever is in it.
      param: nouns[first.part.type],
    })
  const attachments: Attachment[] = []
  const messages: ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: [textPart(system)] }]
  for (const [turn, { role, content }] of asked.entries()) {
    const parts: ContentPart[] = typeof content === 'string' ? [textPart(content)] : []
    for (const [index, part] of (typeof content === 'string' ? [] : content).entries())
      if (part.type === 'text') parts.push(textPart(part.text))
      else {
        const param =
          typeof question === 'string' ? files[index]?.param : `messages[${turn}].content[${index}].${part.type}`
        parts.push({ kind: part.type, attachment: attachments.push(await attachmentOf(part, param ?? '')) - 1 })
      }
    messages.push({ role, content: parts })
  }
  return {
    prompt: {
      kind: 'chat',
      messages,
      tools: tools.map((tool, index) => ({
        ...tool,
        description: tool.description,
        param: `tools[${index}].parameters`,
      })),
      calling: { mode: 'auto', parallel: true },
      variables: {},
      splitReasoning: true,
      continues: endsInAnswer(messages),
      longest: null,
    },
    attachments,
    client: ownClient,
    settings: {
      ...plainSettings,
      maxTokens: options.maxTokens ?? null,
      overflow: 'truncate',
      stop: options.stop ?? [],
      wantsBoxes: options.boxes ?? false,
      sampling: {
        temperature: options.temperature,
        topP: options.topP,
        topK: options.topK,
        minP: options.minP,
        seed: options.seed,
        grammar: schema === undefined ? null : { kind: 'json_schema', schema, strict: true },
      },
    },
  }
}

/** The files that the options have, in the order in which the question has them. */
function filesOf({ images = [], videos = [], audio = [] }: QuestionOptions): { part: FilePart; param: string }[] {
  const placed = (name: string) => (part: FilePart, index: number) => ({ part, param: `${name}[${index}]` })
  return [
    ...images.map((image): FilePart => (isPart(image) ? image : { type: 'image', image })).map(placed('images')),
    ...videos.map((video): FilePart => (isPart(video) ? video : { type: 'video', video })).map(placed('videos')),
    ...audio.map((audio): FilePart => (isPart(audio) ? audio : { type: 'audio', audio })).map(placed('audio')),
  ]
}

const isPart = <Part extends FilePart>(given: FileInput | Part): given is Part =>
  typeof given === 'object' && !(given instanceof Uint8Array || given instanceof Blob || given instanceof URL)

const nouns = { image: 'images', video: 'videos', audio: 'audio' } as const

export async function attachmentOf(part: FilePart, param: string): Promise<Attachment> {
  if (part.type === 'image') {
    const { image, detail = 'auto', pages, minPixels, maxPixels, maxTokens } = part
    const isBound = [minPixels, maxPixels, maxTokens].some((one) => one !== undefined)
    const bounds = isBound ? { leastPixels: minPixels, mostPixels: maxPixels, mostTokens: maxTokens } : undefined
    return { kind: 'image', url: await urlOf(image, param), detail, param, pages, bounds }
  }
  if (part.type === 'audio')
    return { kind: 'audio', url: await urlOf(part.audio, param), detail: 'auto', param, clip: part.clip }
  const { video, detail = 'auto', maxFrames, framesPerSecond, longestEdge, choose, clip } = part
  const frames = { most: maxFrames, perSecond: framesPerSecond, longestEdge, choose }
  return { kind: 'video', url: await urlOf(video, param), detail, param, frames, clip }
}

/** A backend's error in the words of the options. */
export function inOptions(error: unknown): unknown {
  if (!(error instanceof OrielError)) return error
  const word = new Map([
    ['grammar', 'schema'],
    ['prompt', 'question'],
  ]).get(error.param ?? '')
  return word === undefined ? error : error.at(word)
}

const textPart = (text: string): ContentPart => ({ kind: 'text', text })

async function urlOf(file: FileInput, param: string): Promise<string> {
  if (file instanceof Blob) return dataUrl(Buffer.from(await file.arrayBuffer()))
  if (file instanceof Uint8Array) return dataUrl(Buffer.from(file.buffer, file.byteOffset, file.byteLength))
  const isPath = file instanceof URL ? file.protocol === 'file:' : !/^(https?|data):/i.test(file)
  if (!isPath) return String(file)
  try {
    return dataUrl(await readFile(file))
  } catch (cause) {
    throw new OrielError('not_found', `The file ${String(file)} cannot be read.`, {
      param,
      code: 'file_not_found',
      cause,
    })
  }
}

const dataUrl = (bytes: Buffer): string => `data:;base64,${bytes.toString('base64')}`
