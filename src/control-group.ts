import { readFileSync } from 'node:fs'
import path from 'node:path'

/** Where Linux shows control groups, and which ones this process is in. */
export interface GroupFiles {
  files: string
  groups: string
}

const system: GroupFiles = { files: '/sys/fs/cgroup', groups: '/proc/self/cgroup' }

/**
 * Folders in which a control group of this process may be, for a controller of the first version and for the second. A
 * container may see its group's files at the root although the group has a name.
 */
export function groupFolders(controller: string, { files, groups } = system): { first: string[]; second: string[] } {
  const lines = textOf(groups)?.split('\n') ?? []
  const nameBy = (holds: (controllers: string) => boolean): string =>
    lines.map((line) => line.split(':')).find(([, controllers = '']) => holds(controllers))?.[2] ?? '/'
  const ofFirst = nameBy((controllers) => controllers.split(',').includes(controller))
  // Where the first version's two controllers of processors go together, so do their files.
  const first = controller === 'cpu' ? ['cpu', 'cpu,cpuacct'] : [controller]
  return {
    first: first.flatMap((name) => [path.join(files, name, ofFirst), path.join(files, name)]),
    second: [
      path.join(
        files,
        nameBy((controllers) => controllers === ''),
      ),
      files,
    ],
  }
}

/** @returns undefined where it cannot be read */
export function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
