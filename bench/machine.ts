import { arch, cpus, platform, release, totalmem } from 'node:os'

export interface Machine {
  cpu: string
  cores: number
  memoryGb: number
  system: string
}

export const machine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  system: `${platform()} ${release()} ${arch()}`,
})

/** Share of all cores that is in use while nothing of ours works, from which a measurement counts as disturbed. */
const most = 0.15
/** Time over which the cores are watched, and how often it is tried. ms */
const watch = 300
const patience = 20

/** Waits until the cores are free. @returns whether they were in the end */
export async function quiet(): Promise<boolean> {
  for (let tried = 0; tried < patience; tried++) if ((await busyShare()) < most) return true
  return false
}

async function busyShare(): Promise<number> {
  const before = times()
  await new Promise((resolve) => setTimeout(resolve, watch))
  const after = times()
  return (after.busy - before.busy) / Math.max(1, after.all - before.all)
}

function times(): { busy: number; all: number } {
  let [busy, all] = [0, 0]
  for (const { times: of } of cpus()) {
    const used = of.user + of.nice + of.sys + of.irq
    busy += used
    all += used + of.idle
  }
  return { busy, all }
}
