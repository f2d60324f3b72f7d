import { needImageArchitecture, tilesOf, tokensOf } from '../encoders/index.ts'

export const details = ['low', 'auto', 'high'] as const

export interface ImageSize {
  readonly width: number
  readonly height: number
}

/** What an image costs with each `detail`: its tokens in a prompt, and the tiles that are encoded. */
export type ImageTokens = Readonly<
  Record<(typeof details)[number], { readonly tokens: number; readonly tiles: number }>
>

/**
 * What images of these sizes cost, without loading the model.
 * @param projector the vision file
 * @throws OrielError `invalid` if its family is not supported
 */
export async function imageTokens(projector: string, sizes: readonly ImageSize[]): Promise<ImageTokens[]> {
  const architecture = await needImageArchitecture(projector)
  return sizes.map((size) => {
    const of = (detail: (typeof details)[number]) => {
      const plan = architecture.plan({ ...size }, detail)
      return { tokens: tokensOf(plan), tiles: tilesOf(plan).length }
    }
    return { low: of('low'), auto: of('auto'), high: of('high') }
  })
}
