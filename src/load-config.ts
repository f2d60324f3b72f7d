import { z } from 'zod'
import { type Config, configSchema, type OrielSettings } from './config.ts'
import { faultsOf, isSettings, readConfigFile, type Settings } from './config-file.ts'
import { OrielError } from './errors.ts'
import { nearest } from './nearest.ts'

/** A setting that an environment variable sets. */
export interface Variable {
  readonly name: string
  /** Where the setting is in the configuration: `['media', 'maxImages']`. */
  readonly path: readonly string[]
  readonly default: unknown
}

/** The environment variables of all settings. */
export const variables: readonly Variable[] = variablesOf(configSchema, [], configSchema.parse({}))

function variablesOf(schema: z.core.$ZodType, path: readonly string[], value: unknown): Variable[] {
  if (schema instanceof z.ZodPrefault) return variablesOf(schema.unwrap(), path, value)
  if (schema instanceof z.ZodObject && isSettings(value))
    return Object.entries<z.core.$ZodType>(schema.shape).flatMap(([key, inner]) =>
      variablesOf(inner, [...path, key], value[key]),
    )
  const name = z.globalRegistry.get(schema)?.env
  return typeof name === 'string' ? [{ name, path, default: value }] : []
}

/** The environment variable of a setting, or of the setting that contains it. */
export const variableOf = (path: readonly PropertyKey[]): string | undefined =>
  variables.find((variable) => variable.path.every((key, at) => path[at] === key))?.name

/** A sentence about each variable of an environment that looks like a setting and is none. */
export function misspeltVariables(env: NodeJS.ProcessEnv = process.env): string[] {
  const known = variables.map(({ name }) => name)
  return Object.keys(env)
    .filter((name) => name.startsWith('ORIEL_') && !known.includes(name))
    .map((name) => {
      const meant = nearest(name, known)
      return `${name} is not a setting and has no effect.${meant === undefined ? '' : ` Did you mean ${meant}?`}`
    })
}

/**
 * The configuration of one process: the defaults, replaced by the configuration file, replaced by the environment, replaced
 * by `overrides` (such as flags).
 * @throws ZodError that lists each setting whose value is not allowed
 * @throws OrielError `invalid` about the configuration file, with the code `bad_configuration`
 */
export function loadConfig(overrides: OrielSettings = {}, env: NodeJS.ProcessEnv = process.env): Config {
  const file = overrides.file ?? (env.ORIEL_CONFIG || null)
  let settings = file === null ? {} : readConfigFile(file)
  for (const variable of variables) {
    const text = env[variable.name]
    if (!text) continue
    const value = variable.path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), parsed(text, variable))
    settings = merge(settings, value as Settings)
  }
  const config = configSchema.parse(merge(settings, overrides))
  // Whoever configures upstreams need not want a model here.
  const isNamed = [settings, overrides].some(({ model }) => model !== undefined)
  return isNamed || config.upstreams.length === 0 ? config : { ...config, model: [] }
}

/** @throws OrielError `invalid` that names each setting that is not allowed, by its environment variable if it has one */
export function configOf(settings: OrielSettings, env: NodeJS.ProcessEnv = process.env): Config {
  try {
    return loadConfig(settings, env)
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    const wrong = faultsOf(error, configSchema, (path) => variableOf(path) ?? path.join('.'))
    throw new OrielError('invalid', `A setting is not allowed. ${wrong.join('; ')}.`)
  }
}

/** Reads a variable's text as the type of the default. The schema refuses a text that is not of that type. */
function parsed(value: string, { default: byDefault }: Variable): unknown {
  if (Array.isArray(byDefault)) return value.split(',').map((entry) => entry.trim())
  if (typeof byDefault !== 'number' || value.trim() === '' || Number.isNaN(Number(value))) return value
  return Number(value)
}

function merge(base: Settings, over: Settings): Settings {
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue
    const under = merged[key]
    merged[key] = isSettings(value) && isSettings(under) ? merge(under, value) : value
  }
  return merged
}
