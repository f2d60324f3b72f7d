import { z } from 'zod'

/** A JSON Schema. The engine checks it. */
export const jsonSchema = z.union([z.boolean(), z.record(z.string(), z.unknown())])
