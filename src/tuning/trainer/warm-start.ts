import { OrielError } from '../../errors.ts'
import { type PeftBase, plannedNumbers, planPeft, readPeft } from '../../models/index.ts'
import type { Session } from './session.ts'

const half = /\.weight\.lora_([ab])$/

/**
 * Begins with the matrices of another adapter. One of a lower rank fills the first rows of each.
 * @param source a folder in the format of PEFT
 * @throws OrielError `invalid` for an adapter that changes what is not trained here, or has a higher rank
 */
export async function startFrom(source: string, { adapter, modules }: Session, base: PeftBase): Promise<void> {
  const peft = await readPeft(source)
  const { invocation, rank, alpha, decoder, vision } = await planPeft(peft, base)
  const refused = (why: string) =>
    new OrielError('invalid', `Training cannot begin with this adapter: ${why}.`, { code: 'bad_warm_start' })
  if (invocation.length > 0) throw refused('it works from certain tokens on (aLoRA)')
  if (rank > adapter.rank) throw refused(`its rank is ${rank}, and that of the training ${adapter.rank}`)
  const known = new Map(modules.flatMap((module) => (module.projector === null ? [[module.matrix, module]] : [])))
  // What was trained of a projector cannot be taken apart again.
  const other = [...decoder, ...vision].find(({ name }) => !known.has(name.replace(half, '')))
  if (other !== undefined) throw refused(`it changes ${other.name.replace(half, '')}, with which it cannot begin`)

  const parameters = adapter.read(adapter.parameters)
  for (const { name, shape, values } of plannedNumbers(peft.file, decoder)) {
    const module = known.get(name.replace(half, ''))
    if (module === undefined) continue
    const { a, b } = adapter.matricesOf(module, parameters)
    if (half.exec(name)?.[1] === 'a') a.set(values)
    else {
      // It is `[outputs, rank]`, and multiplied by its own alpha / rank when it answers.
      const [own, outputs] = shape
      const factor = alpha / own / adapter.scale
      for (let output = 0; output < outputs; output++)
        for (let part = 0; part < own; part++) b[part * outputs + output] = (values[output * own + part] ?? 0) * factor
    }
  }
  adapter.write(adapter.parameters, parameters)
}
