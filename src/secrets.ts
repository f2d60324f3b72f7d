/**
 * Environment variables with keys, tokens or passwords, which child processes do not get. They are not marked in the schema of
 * the settings, since to make it would take a fifth of the start of a child, which needs nothing else of it.
 */
const variables = new Set([
  'DATABASE_URL',
  'HF_TOKEN',
  'ORIEL_ADMIN_KEY',
  'ORIEL_API_KEY',
  'ORIEL_FETCH_PROXY',
  'REDIS_URL',
])

export const secretVariables = (): readonly string[] => [...variables]

/** Keeps another variable from child processes: one that the configuration takes a key from. */
export function hideVariable(name: string): void {
  variables.add(name)
}
