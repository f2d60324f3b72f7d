import { apiKey } from '../../../server/client.ts'
import type { Conversation, Picture, Question, Turn } from './conversation.ts'
import { dataUrlOf } from './files.ts'
import { bracketed } from './json.ts'
import { type ChatRequest, requestOf } from './request.ts'

/** The request that is shown as code. */
export interface CodeOf {
  readonly question: Question
  readonly before: readonly Turn[]
  readonly column: number
  readonly model: string
}

export const languages = ['curl', 'JavaScript', 'Python'] as const
export type Language = (typeof languages)[number]

/** @param inlined whether the code has the bytes of the pictures; else it reads them from files in its folder */
export async function codeOf(
  of: CodeOf & { conversation: Conversation },
  language: Language,
  inlined: boolean,
): Promise<string> {
  const files = new Map<string, Picture>()
  const byName = async (picture: Picture): Promise<string> => {
    files.set(picture.id, picture)
    return picture.id
  }
  const { body } = await requestOf({ ...of, urlOf: inlined ? dataUrlOf : byName })
  return writers[language](body, files)
}

/** The code as it is shown: without the bytes of the pictures. */
export const shortened = (code: string): string =>
  code.replace(
    /(;base64,[\w+/]{16})[\w+/=]{40,}/g,
    (all, start: string) => `${start}… ${Math.ceil(all.length / 1000)} kB …`,
  )

type Writer = (body: ChatRequest, files: ReadonlyMap<string, Picture>) => string

/** How a language writes what JSON writes otherwise. */
interface Notation {
  readonly words: Readonly<Record<string, string>>
  readonly key: (name: string) => string
  readonly text: (text: string) => string
  readonly indent: number
}

const curl: Writer = (body, files) => {
  // Without files the shell changes nothing in the text; with them it puts their bytes in.
  const kept = files.size === 0 ? (text: string) => text : (text: string) => text.replace(/[\\$`]/g, '\\$&')
  const notation: Notation = {
    ...{ words: {}, indent: 2, key: (name) => kept(JSON.stringify(name)) },
    text: (text) => {
      const file = files.get(text)
      return file === undefined
        ? kept(JSON.stringify(text))
        : `"data:${typeOf(file)};base64,$(base64 < ${shellWord(file.name)} | tr -d '\\n')"`
    },
  }
  const key = apiKey.value === '' ? '' : ' \\\n  -H "authorization: Bearer $ORIEL_API_KEY"'
  const mark = files.size === 0 ? `'JSON'` : 'JSON'
  return `curl ${location.origin}/v1/chat/completions \\
  -H 'content-type: application/json'${key} \\
  --data-binary @- <<${mark}
${written(body, notation)}
JSON
`
}

const javascript: Writer = (body, files) => {
  const notation: Notation = {
    ...{ words: {}, indent: 2, key: (name) => (/^[a-z_$][\w$]*$/i.test(name) ? name : JSON.stringify(name)) },
    text: (text) => {
      const file = files.get(text)
      return file === undefined ? JSON.stringify(text) : `dataUrl(${JSON.stringify(file.name)}, '${typeOf(file)}')`
    },
  }
  const reads =
    files.size === 0
      ? ''
      : `
const dataUrl = (file, type) => \`data:\${type};base64,\${readFileSync(file).toString('base64')}\`
`
  return `import OpenAI from 'openai'
${files.size === 0 ? '' : `import { readFileSync } from 'node:fs'\n`}
const client = new OpenAI({
  baseURL: '${location.origin}/v1',
  apiKey: ${apiKey.value === '' ? `'none'` : 'process.env.ORIEL_API_KEY'},
})
${reads}
const response = await client.chat.completions.create(${written(body, notation)})
console.log(response.choices[0].message${'tools' in body ? '' : '.content'})
`
}

/** Parameters that OpenAI's client for Python knows. It takes others in a dictionary of their own. */
const known = [
  ...['model', 'messages', 'max_tokens', 'temperature', 'top_p', 'seed', 'frequency_penalty', 'presence_penalty'],
  ...['response_format', 'tools', 'parallel_tool_calls'],
]

const python: Writer = (body, files) => {
  const notation: Notation = {
    ...{ words: { true: 'True', false: 'False', null: 'None' }, indent: 4, key: (name) => JSON.stringify(name) },
    text: (text) => {
      const file = files.get(text)
      return file === undefined ? JSON.stringify(text) : `data_url(${JSON.stringify(file.name)}, "${typeOf(file)}")`
    },
  }
  const entries = Object.entries(body)
  const others = entries.filter(([name]) => !known.includes(name))
  const given = [
    ...entries.filter(([name]) => known.includes(name)),
    ...(others.length === 0 ? [] : [['extra_body', Object.fromEntries(others)] as const]),
  ]
  const reads =
    files.size === 0
      ? ''
      : `
def data_url(file, type):
    with open(file, "rb") as opened:
        return f"data:{type};base64,{base64.b64encode(opened.read()).decode()}"

`
  const imports = [...(files.size === 0 ? [] : ['import base64']), ...(apiKey.value === '' ? [] : ['import os'])]
  return `${[...imports, 'from openai import OpenAI'].join('\n')}

client = OpenAI(
    base_url="${location.origin}/v1",
    api_key=${apiKey.value === '' ? '"none"' : 'os.environ["ORIEL_API_KEY"]'},
)
${reads}
response = client.chat.completions.create(
${given.map(([name, value]) => `    ${name}=${written(value, notation, 1)},`).join('\n')}
)
print(response.choices[0].message${'tools' in body ? '' : '.content'})
`
}

const writers: Readonly<Record<Language, Writer>> = { curl, JavaScript: javascript, Python: python }

/** A value in the notation of a language. What is short stays on one line. */
function written(value: unknown, notation: Notation, depth = 0): string {
  if (typeof value === 'string') return notation.text(value)
  if (typeof value !== 'object' || value === null) return notation.words[String(value)] ?? String(value)
  const isList = Array.isArray(value)
  const items = isList
    ? value.map((item) => written(item, notation, depth + 1))
    : Object.entries(value).map(([name, item]) => `${notation.key(name)}: ${written(item, notation, depth + 1)}`)
  return bracketed(isList ? '[]' : '{}', items, notation.indent, depth)
}

const typeOf = ({ type }: Picture): string => (/^[\w.+-]+\/[\w.+-]+$/.test(type) ? type : 'application/octet-stream')

const shellWord = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
