import { entryOf, startProcess } from '../children/index.ts'
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

/** Time that a GPU driver may take to answer, in ms; after it the GPU counts as absent. */
const probeTimeout = 20_000

/** Asks in a child process, since one process cannot load two builds of the libraries. @returns none on failure */
const gpusBy = (device: GpuDevice): Promise<Gpu[]> =>
  new Promise((resolve) => {
    const child = startProcess(entryOf(import.meta.url, './gpu-probe.ts'), {
      args: [device],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      timeout: probeTimeout,
    })
    child.on('message', (gpus: Gpu[]) => resolve(gpus))
    child.once('exit', () => resolve([]))
    child.once('error', () => resolve([]))
  })
