import { readFileSync } from 'node:fs'
import path from 'node:path'

/** Where Linux shows control groups: the folder of their files, and the list of groups of this process. */
export interface GroupFiles {
  files: string
  groups: string
}

const system: GroupFiles = { files: '/sys/fs/cgroup', groups: '/proc/self/cgroup' }

/**
 * The folders in which this process's control group may be: for a controller of version 1, and for version 2. A container
 * may see the files of its group at the root although the group has a name.
 */
export function groupFolders(controller: string, { files, groups } = system): { first: string[]; second: string[] } {
  const lines = textOf(groups)?.split('\n') ?? []
  const groupBy = (matches: (controllers: string) => boolean): string =>
    lines.map((line) => line.split(':')).find(([, controllers = '']) => matches(controllers))?.[2] ?? '/'
  const ofFirst = groupBy((controllers) => controllers.split(',').includes(controller))
  const ofSecond = groupBy((controllers) => controllers === '')
  // Version 1 usually mounts its two CPU controllers together.
  const first = controller === 'cpu' ? ['cpu', 'cpu,cpuacct'] : [controller]
  return {
    first: first.flatMap((name) => [path.join(files, name, ofFirst), path.join(files, name)]),
    second: [path.join(files, ofSecond), files],
  }
}

/** @returns undefined if the file cannot be read */
export function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
