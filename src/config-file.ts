import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { allowed } from './allowed.ts'
import { configSchema } from './config.ts'
import { OrielError } from './errors.ts'
import { nearest } from './nearest.ts'

export type Settings = { [key: string]: unknown }

/** What a configuration file may have. Editors know it by `$schema`, which has no other effect. */
export const fileSchema = configSchema.omit({ file: true }).extend({ $schema: z.string().optional() })

/**
 * The settings of a configuration file: TOML if its name ends so, else JSON.
 * @throws OrielError `invalid`, with the code `bad_configuration`, that names the file, and the setting that is not allowed.
 *   What is in the file is not in the error: it may have keys
 */
export function readConfigFile(file: string): Settings {
  const refuse = (reason: string): OrielError =>
    new OrielError('invalid', `The configuration file ${file} ${reason}${/\?$/.test(reason) ? '' : '.'}`, {
      code: 'bad_configuration',
    })
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw refuse('cannot be read')
  }
  const isToml = /\.toml$/i.test(file)
  let settings: unknown
  try {
    settings = isToml ? parse(text) : JSON.parse(text)
  } catch (error) {
    throw refuse(isToml ? `is not TOML: ${faultOfToml(error)}` : `is not JSON: ${faultOfJson(error)}`)
  }
  if (!isSettings(settings)) throw refuse('is not a JSON object')
  const { $schema: _, ...read } = settings
  // On its own: what a variable says of the same group must not hide what is wrong in the file.
  const { error } = fileSchema.safeParse(settings)
  if (error === undefined) return read
  throw refuse(`has a setting that is not allowed. ${faultsOf(error, fileSchema).join('; ')}`)
}

export function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Without the lines that it quotes. */
const faultOfToml = (error: unknown): string =>
  error instanceof TomlError
    ? `line ${error.line}, column ${error.column}: ${/^Invalid TOML document: (.*)/.exec(error.message)?.[1]}`
    : 'it cannot be parsed'

/** Without the text that it quotes. */
const faultOfJson = (error: unknown): string =>
  error instanceof SyntaxError ? error.message.replace(/, (\.\.\.)?".*/s, '') : 'it cannot be parsed'

/**
 * A sentence about each setting that is not allowed.
 * @param nameOf what it is called. Default: its path, `upstreams[0].url`
 */
export function faultsOf(
  { issues }: z.core.$ZodError,
  schema: z.ZodObject,
  nameOf: (path: readonly PropertyKey[]) => string = pathText,
): string[] {
  return issues.flatMap(whole).flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [`${nameOf(issue.path)}: ${allowed(issue)}`]
    const known = keysAt(schema, issue.path)
    return issue.keys.map((key) => {
      const meant = nearest(key, known)
      return `${pathText([...issue.path, key])}: there is no such setting${meant === undefined ? '' : `, did you mean ${meant}?`}`
    })
  })
}

const pathText = (path: readonly PropertyKey[]): string =>
  path.map((key, at) => (typeof key === 'number' ? `[${key}]` : `${at === 0 ? '' : '.'}${String(key)}`)).join('')

/** What is wrong inside a value that may have one of several forms: in the form that it has. */
function whole(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue]
  const form = issue.errors.find((errors) =>
    errors.some(({ path, code }) => path.length > 0 || code === 'unrecognized_keys'),
  )
  return form === undefined
    ? [issue]
    : form.flatMap((inner) => whole({ ...inner, path: [...issue.path, ...inner.path] }))
}

/** The settings of a group. */
function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const inner = unwrapped(schema)
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((option) => keysAt(option, path))
  const [first, ...rest] = path
  if (inner instanceof z.ZodObject) {
    if (first === undefined) return Object.keys(inner.shape)
    const next: unknown = inner.shape[String(first)]
    return next instanceof z.ZodType ? keysAt(next, rest) : []
  }
  if (inner instanceof z.ZodArray) return keysAt(inner.element, rest)
  return inner instanceof z.ZodRecord ? keysAt(inner.valueType, rest) : []
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  const isWrapped =
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodOptional
  return isWrapped ? unwrapped(schema.unwrap()) : schema
}
