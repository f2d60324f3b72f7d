import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EngineConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import {
  type Device,
  findFolder,
  type Gpu,
  type GpuDevice,
  gpusOf,
  installCommand,
  isInstalled,
  openNative,
  thisHost,
} from '../native/index.ts'

export type { Device } from '../native/index.ts'

/** What models are computed with. */
export interface Compute {
  device: Device
  gpus: readonly Gpu[]
}

/**
 * Finds what `--gpu` asks for; `auto` is the first GPU whose package is installed and that is there.
 * @throws OrielError `invalid` where it asks for a GPU that is not there, with what would help
 */
export async function chooseDevice(wanted: EngineConfig['gpu'], log: Logger): Promise<Compute> {
  if (wanted === 'off') return { device: 'cpu', gpus: [] }
  if (wanted !== 'auto') {
    try {
      findFolder(wanted, thisHost)
    } catch (error) {
      throw error instanceof OrielError ? new OrielError('invalid', error.message, { code: 'no_gpu' }) : error
    }
    const gpus = await gpusBy(wanted)
    if (gpus.length === 0) throw new OrielError('invalid', absent(wanted), { code: 'no_gpu' })
    return chosen(wanted, gpus, log)
  }
  const installed = gpusOf(thisHost).filter((device) => isInstalled(device, thisHost))
  for (const device of installed) {
    const gpus = await gpusBy(device)
    if (gpus.length > 0) return chosen(device, gpus, log)
  }
  const could = gpusOf(thisHost).filter((device) => !installed.includes(device))
  const hint = could.map((device) => `${device}: ${installCommand(device, thisHost)}`).join('; ')
  log.info({ gpu: null, packages: installed }, `no GPU is used${hint === '' ? '' : ` (${hint})`}`)
  return { device: 'cpu', gpus: [] }
}

function chosen(device: GpuDevice, gpus: readonly Gpu[], log: Logger): Compute {
  log.info({ gpu: device, gpus }, 'a GPU is used')
  return { device, gpus }
}

/** What has to be there beside the package. */
const needs: Record<GpuDevice, string> = {
  cuda: "NVIDIA's driver and the CUDA 12 or 13 runtime (libcudart and libcublas)",
  vulkan: "a GPU's Vulkan driver and the Vulkan loader (libvulkan1)",
  metal: 'a GPU that Metal can use',
}

const absent = (device: GpuDevice): string =>
  `--gpu ${device}: no GPU was found. It needs ${needs[device]}; --gpu off computes on the processor.`

const file = fileURLToPath(import.meta.url)

/** Time after which a driver that does not answer is taken for none, in ms. */
const patience = 20_000

/** Asks in a process of its own: two builds of the libraries do not go together in one. @returns none where it fails */
const gpusBy = (device: GpuDevice): Promise<Gpu[]> =>
  new Promise((resolve) => {
    const child = fork(file, [device], {
      execArgv: ['--import', import.meta.resolve('tsx')],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      timeout: patience,
    })
    child.on('message', (gpus: Gpu[]) => resolve(gpus))
    child.once('exit', () => resolve([]))
    child.once('error', () => resolve([]))
  })

const [, run, device] = process.argv
if (run === file && device !== undefined)
  process.send?.(openNative(device as GpuDevice).ggml.gpus(), () => process.disconnect())
