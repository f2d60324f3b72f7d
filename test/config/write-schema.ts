/** Writes oriel.schema.json. `npm run schema` */
import { writeFileSync } from 'node:fs'
import { configSchemaText } from './schema.ts'

writeFileSync(new URL('../../oriel.schema.json', import.meta.url), configSchemaText())
