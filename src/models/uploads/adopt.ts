import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { AdapterCard } from '../adapters.ts'
import { adaptersFolder } from '../local.ts'
import { peftNames } from '../peft/plan.ts'
import type { Uploads, WantedUpload } from './uploads.ts'

interface AdoptAround {
  readonly uploads: Uploads
  /** The folder of models that adapters are put into. */
  readonly folder: string
  find(name: string): Promise<AdapterCard | undefined>
}

/**
 * Takes in an adapter in the format of PEFT from a folder of this machine, as if it were uploaded, and keeps it in GGUF beside.
 * What was taken in before is not taken in again.
 * @throws OrielError as uploads do: `conflict` if there is another of this name; `precondition_failed` if it cannot be used
 */
export async function adopt(
  from: string,
  { model, account, base }: Pick<WantedUpload, 'model' | 'account' | 'base'>,
  { uploads, folder, find }: AdoptAround,
): Promise<void> {
  const target = path.join(folder, adaptersFolder, model)
  const names = [peftNames.config, peftNames.matrices]
  if (!(await isSame(path.join(from, peftNames.matrices), path.join(target, peftNames.matrices)))) {
    const sizes = await Promise.all(names.map(async (name) => (await stat(path.join(from, name))).size))
    const files = Object.fromEntries(names.map((name, at) => [name, sizes[at] ?? 0]))
    const begun = await uploads.find(account, model)
    // The process that has begun it was killed.
    if (begun !== undefined && names.every((name) => begun.files[name] === files[name])) await uploads.cancel(begun)
    const upload = await uploads.begin({ model, account, kind: 'adapter', base })
    try {
      const announced = await uploads.announce(upload, files)
      for (const name of names)
        await uploads.receive({ upload: upload.id, model, file: name, bytes: files[name] ?? 0 }, async (write) => {
          for await (const chunk of createReadStream(path.join(from, name)) as AsyncIterable<Buffer>) await write(chunk)
        })
      await uploads.finish(announced)
    } catch (error) {
      await uploads.cancel(upload).catch(() => {})
      throw error
    }
  }
  // It is converted here. A file more makes another version of it, which is converted when it is asked.
  const card = await find(model)
  await keepBeside(card?.decoder ?? null, path.join(target, `${model}.gguf`))
  await keepBeside(card?.vision ?? null, path.join(target, `${model}-vision.gguf`))
}

/** Nobody sees a part of the file. */
async function keepBeside(file: string | null, target: string): Promise<void> {
  if (file === null) return
  const unfinished = `${target}.${randomUUID()}.new`
  try {
    await copyFile(file, unfinished)
    await rename(unfinished, target)
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function isSame(one: string, other: string): Promise<boolean> {
  const sizes = await Promise.all([one, other].map((file) => stat(file).catch(() => null)))
  if (sizes[1] == null || sizes[0]?.size !== sizes[1].size) return false
  const [first, second] = await Promise.all([one, other].map(hashOf))
  return first === second
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) hash.update(chunk)
  return hash.digest('hex')
}
