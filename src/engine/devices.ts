import { startProcess } from '../children/index.ts'
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
import { programFile } from '../places.ts'

export type { Device } from '../native/index.ts'

export interface Compute {
  device: Device
  gpus: readonly Gpu[]
}

/**
 * Chooses the device that computes models. `auto` chooses the first GPU that is present and whose package is installed.
 * @throws OrielError `invalid`, code `no_gpu`, when the requested kind of GPU cannot be used, with what it needs
 */
export async function chooseDevice(wanted: EngineConfig['gpu'], log: Logger): Promise<Compute> {
  if (wanted === 'off') return { device: 'cpu', gpus: [] }
  if (wanted !== 'auto') checkPackage(wanted)
  const possible = wanted === 'auto' ? gpusOf(thisHost).filter((device) => isInstalled(device, thisHost)) : [wanted]
  for (const device of possible) {
    const gpus = await gpusBy(device)
    if (gpus.length === 0) continue
    log.info({ gpu: device, gpus }, 'a GPU is used')
    return { device, gpus }
  }
  if (wanted !== 'auto')
    throw new OrielError('invalid', `No GPU was found for ${wanted}. It needs ${needs[wanted]}.`, { code: 'no_gpu' })
  const missing = gpusOf(thisHost).filter((device) => !possible.includes(device))
  const hint = missing.map((device) => `${device}: ${installCommand(device, thisHost)}`).join('; ')
  log.info({ gpu: null, packages: possible }, `no GPU is used${hint === '' ? '' : ` (${hint})`}`)
  return { device: 'cpu', gpus: [] }
}

/** Bytes of memory that GPUs have of their own; undefined if no GPU is used. */
export const gpuMemory = ({ device, gpus }: Compute): number | undefined =>
  device === 'cpu'
    ? undefined
    : gpus.reduce((sum, { integrated, freeMemory }) => sum + (integrated ? 0 : freeMemory), 0)

function checkPackage(device: GpuDevice): void {
  try {
    findFolder(device, thisHost)
  } catch (error) {
    throw error instanceof OrielError ? new OrielError('invalid', error.message, { code: 'no_gpu' }) : error
  }
}

/** Requirements in addition to the npm package. */
const needs: Record<GpuDevice, string> = {
  cuda: 'the NVIDIA driver and the CUDA 12 or 13 runtime (libcudart and libcublas)',
  vulkan: 'a Vulkan driver for the GPU and the Vulkan loader (libvulkan1)',
  metal: 'a GPU that supports Metal',
}

/** Time that a GPU driver may take to answer, in ms; after it the GPU counts as absent. */
const probeTimeout = 20_000

/** Asks in a child process, since one process cannot load two builds of the libraries. @returns none on failure */
const gpusBy = (device: GpuDevice): Promise<Gpu[]> =>
  new Promise((resolve) => {
    const child = startProcess(programFile('engine/gpu-probe'), {
      args: [device],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      timeout: probeTimeout,
    })
    child.on('message', (gpus: Gpu[]) => resolve(gpus))
    child.once('exit', () => resolve([]))
    child.once('error', () => resolve([]))
  })
