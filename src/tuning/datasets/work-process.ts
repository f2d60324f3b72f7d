import { once } from 'node:events'
import { setPriority } from 'node:os'
import { toWire } from '../../children/index.ts'
import { isFull, noSpace } from '../../disk.ts'
import { checkFile } from './check.ts'
import { writeJobFolder } from './job-folder.ts'
import type { FromWork, Task } from './work.ts'

/** Entry of the process that reads datasets. Threads that start later inherit its priority. */
setPriority(10)
process.on('disconnect', () => process.exit(0))
// A terminal sends it to the whole process group. The server decides when this process ends.
process.on('SIGINT', () => {})

/** Time between two reports, in ms. */
const reportMs = 250

const tell = (message: FromWork): void => void process.send?.(message)

let last = 0
const onProgress = (amount: number): void => {
  const now = performance.now()
  if (now - last < reportMs) return
  last = now
  tell({ type: 'progress', amount })
}

const [task] = (await once(process, 'message')) as [Task]
try {
  const result =
    task.type === 'check'
      ? await checkFile(task.file, task.limits, { onProgress })
      : await writeJobFolder(task, { onProgress })
  tell({ type: 'done', result })
} catch (error) {
  tell({
    type: 'failed',
    error: toWire(isFull(error) ? noSpace('It became full.') : error, 'The dataset could not be read.'),
  })
}
