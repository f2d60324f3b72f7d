import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { ModelsConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { joined } from '../joined.ts'
import { withoutAdapters } from './adapter-files.ts'
import type { PulledAdapter } from './adapter-pull.ts'
import { type AdapterCard, adaptersOf, checkAdapter } from './adapters.ts'
import { factsOf, type ModelCard, type ModelFacts, readCard } from './card.ts'
import { splitOf } from './file-names.ts'
import { type EncoderFamilies, supports } from './fit.ts'
import { cacheFolder } from './hub/cache.ts'
import { HubClient } from './hub/client.ts'
import { aliasesOf, findLocal, localModels, named, type Origin, ownFolder, visionFileBeside } from './local.ts'
import { type PullOptions, pull } from './pull.ts'
import { filesOf, type ModelFile, type Removal, removalOf } from './removal.ts'
import { type HubSource, hubSourceOf } from './source.ts'
import { adopt } from './uploads/adopt.ts'
import { checkModel } from './uploads/check.ts'
import { Uploads, type WantedUpload } from './uploads/uploads.ts'

/** The models of this machine, and the way to get more. */
export interface Library {
  /**
   * Finds a model by one of its names or by the path of a GGUF file. With a path, a vision file (`mmproj*.gguf`) in the same
   * folder belongs to the model.
   * @param projector the vision file, if it should not be looked for
   * @throws OrielError `not_found` that names the models (`NotPulled` for one of the catalogue), `invalid` if the files are
   *   damaged or do not belong together
   */
  find(name: string, projector?: string): Promise<ModelCard>
  /** Every model on this machine, and those whose files cannot be served. */
  list(): Promise<{ models: ModelCard[]; broken: { id: string; error: OrielError }[] }>
  /**
   * Finds a model by one of its names only: a path is not a name, so a request cannot reach other files.
   * @throws OrielError `invalid` if the files of the model are damaged or do not belong together
   */
  lookUp(name: string): Promise<ModelCard | undefined>
  /** Reads the files of a model again, if they have changed. @throws OrielError as `find` does */
  reread(card: ModelCard): Promise<ModelCard>
  /** @throws OrielError `invalid` or `not_found` if a file of the model is damaged or missing */
  facts(card: ModelCard): Promise<ModelFacts>
  /** Every adapter on this machine, and those that cannot be used. */
  adapters(): Promise<{ adapters: AdapterCard[]; broken: { id: string; error: OrielError }[] }>
  /**
   * Finds an adapter by one of its names, and converts it first if it came in the format of PEFT.
   * @throws OrielError `precondition_failed` with the reason, if it cannot be used
   */
  adapter(name: string): Promise<AdapterCard | undefined>
  /**
   * An adapter for a model, whatever other models it fits.
   * @param name one of its names, or the path of its folder or of its GGUF file
   * @throws OrielError `not_found`; `precondition_failed` with the reason, if it cannot be used with the model
   */
  adapterFor(base: ModelCard, name: string): Promise<AdapterCard>
  /** Where each model that is found by name has come from, by its id. */
  origins(): Promise<ReadonlyMap<string, Origin>>
  /** Whether vision files of this type (`clip.projector_type`) can be run. */
  supports(type: string): boolean
  /**
   * Downloads a model, or the parts of it that are missing, and checks that it can be served; or an adapter.
   * @param name an id of the catalogue or `owner/repo`, either with `:QUANT`, a URL, or a GGUF file of this machine
   * @throws OrielError with a message for a person at a terminal
   */
  pull(name: string, options: PullOptions): Promise<ModelCard | PulledAdapter>
  /** What a name stands for on the hub. @throws OrielError `invalid` or `not_found` if it stands for nothing there */
  onHub(name: string): HubSource
  /** The hub, and whether it answers. @throws OrielError why it does not */
  reachHub(signal: AbortSignal): Promise<{ endpoint: string }>
  /** The folders in which pulled models are kept: of models from the hub, and of others. */
  readonly folders: { hub: string; own: string }
  /** Models and adapters that clients send. They are in the folder of models that is searched first. */
  readonly uploads: Uploads
  /** Takes in an adapter in the format of PEFT from a folder of this machine. @throws OrielError as `adopt` does */
  adopt(from: string, wanted: Pick<WantedUpload, 'model' | 'account' | 'base'>): Promise<void>
  /** The files of a model or an adapter. @throws OrielError `not_found` */
  files(name: string): Promise<ModelFile[]>
  /** Prepares to remove a model or an adapter. @throws OrielError `not_found`, and `invalid` for the built-in model */
  removal(name: string): Promise<Removal>
}

/** @param families of encoders that can be run */
export function createLibrary(config: ModelsConfig, families: EncoderFamilies): Library {
  // A client may name hundreds of models that do not exist: folders are searched, and files read, once for all who ask.
  const here = joined(async () => withoutAdapters(await localModels(config)))
  const list = joined(async () => {
    const models: ModelCard[] = []
    const broken: { id: string; error: OrielError }[] = []
    for (const model of await here())
      try {
        models.push(await readCard(model, families))
      } catch (error) {
        if (!(error instanceof OrielError)) throw error
        broken.push({ id: model.id, error })
      }
    return { models, broken }
  })
  const adapters = adaptersOf(config, here)
  const uploads = new Uploads({
    folder: ownFolder(config),
    check: async (folder, name, kind) =>
      kind === 'adapter'
        ? checkAdapter(folder, name, await here())
        : checkModel(folder, await readdir(folder), families),
  })
  return {
    list,
    adapters: adapters.list,
    adapter: adapters.find,
    adapterFor: adapters.findFor,

    async find(name, projector) {
      const vision = projector === undefined ? undefined : path.resolve(projector)
      if (!name.endsWith('.gguf')) {
        const model = await findLocal(name, config)
        return readCard({ ...model, projector: vision ?? model.projector }, families)
      }
      const decoder = path.resolve(name)
      const { stem } = splitOf(path.basename(decoder))
      const files = { id: stem, aliases: aliasesOf(stem), decoder }
      return readCard({ ...files, projector: vision ?? (await visionFileBeside(decoder)) }, families)
    },

    async lookUp(name) {
      const found = named(name, await here())
      return found && readCard(found, families)
    },

    reread: (card) => readCard(card, families),
    facts: (card) => factsOf(card, families),
    origins: async () => new Map((await here()).map(({ id, origin }) => [id, origin])),
    supports: (type) => supports(families, type),
    pull: (name, options) => pull(name, { ...options, config, families }),
    onHub: (name) => hubSourceOf(name, config.hub.endpoint),
    async reachHub(signal) {
      const { endpoint } = config.hub
      const client = new HubClient(config.hub, () => {})
      await client.reach(signal).finally(() => client.close())
      return { endpoint }
    },
    folders: { hub: cacheFolder(config), own: ownFolder(config) },
    uploads,
    adopt: (from, wanted) => adopt(from, wanted, { uploads, folder: ownFolder(config), find: adapters.find }),
    files: (name) => filesOf(name, config),
    removal: (name) => removalOf(name, config),
  }
}
