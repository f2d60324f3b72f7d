import { fileURLToPath } from 'node:url'
import { entryOf, startProcess } from '../children/index.ts'
import { openArchitecture, tilesOf } from '../vision/index.ts'

/** Pictures as people have them: a thumbnail, a screen, a photo, a page. */
const sizes = [
  [512, 512],
  [1280, 720],
  [4000, 3000],
  [1240, 1754],
] as const

/** What pictures of a size cost, by the `detail` that a request asks for. */
export interface ImageTokens {
  width: number
  height: number
  low: number
  auto: number
  high: number
}

const file = fileURLToPath(import.meta.url)

/** In a process of its own: ggml writes to stderr as it loads. @returns none where the file cannot be read */
export const imageTokensOf = (projector: string): Promise<ImageTokens[]> =>
  new Promise((resolve) => {
    const child = startProcess(entryOf(import.meta.url, './image-tokens.ts'), {
      args: [projector],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    child.on('message', (message: ImageTokens[]) => resolve(message))
    child.once('exit', () => resolve([]))
    child.once('error', () => resolve([]))
  })

function count(projector: string): ImageTokens[] {
  const architecture = openArchitecture(projector)
  return sizes.map(([width, height]) => {
    const [low = 0, auto = 0, high = 0] = (['low', 'auto', 'high'] as const).map((detail) =>
      tilesOf(architecture.plan({ width, height }, detail)).reduce((sum, { tokens }) => sum + tokens, 0),
    )
    return { width, height, low, auto, high }
  })
}

const [, run, projector] = process.argv
if (run === file && projector !== undefined) process.send?.(count(projector), () => process.disconnect())
