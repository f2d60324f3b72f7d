import { z } from 'zod'
import { fileSchema } from '../../src/config-file.ts'

/** `oriel.schema.json`: what a configuration file may have, for editors. */
export function configSchemaText(): string {
  const schema = z.toJSONSchema(fileSchema, {
    io: 'input',
    override({ jsonSchema }) {
      const { env, type } = jsonSchema
      if (typeof env === 'string') jsonSchema.description = `The variable ${env} wins over it.`
      Reflect.deleteProperty(jsonSchema, 'env')
      // Texts are for variables.
      if (String(type) === 'string,boolean') jsonSchema.type = 'boolean'
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) Reflect.deleteProperty(jsonSchema, 'maximum')
    },
  })
  return `${JSON.stringify({ ...schema, title: 'Configuration of Oriel' }, null, 2)}\n`
}
