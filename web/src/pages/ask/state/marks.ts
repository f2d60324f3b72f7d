import type { Mark } from './conversation.ts'

/** An image of the prompt, in its order, as the usage of the answer has it. */
interface Sent {
  readonly param: string
  readonly width: number
  readonly height: number
}

interface OnImage {
  /** The index of its image in the prompt. */
  readonly image: number
  readonly label: string | null
}

/** What the server found in an answer, with `return_boxes`: in pixels of the image as it was sent. */
export interface Grounding {
  readonly boxes?: readonly (OnImage & { x1: number; y1: number; x2: number; y2: number })[]
  readonly points?: readonly (OnImage & { x: number; y: number })[]
}

/** Those on a page that this page does not show are left out: it shows the first page of a document. */
export function marksOf({ boxes = [], points = [] }: Grounding, pictures: readonly Sent[]): Mark[] {
  const onShown = ({ image }: OnImage) => {
    const sent = pictures[image]
    const isFirst = pictures.findIndex(({ param }) => param === sent?.param) === image
    return sent === undefined || !isFirst ? [] : [sent]
  }
  return [
    ...boxes.flatMap((box) =>
      onShown(box).map(({ width, height }) => ({
        ...{ label: box.label, x: box.x1 / width, y: box.y1 / height },
        size: { width: (box.x2 - box.x1) / width, height: (box.y2 - box.y1) / height },
      })),
    ),
    ...points.flatMap((point) =>
      onShown(point).map(({ width, height }) => ({ label: point.label, x: point.x / width, y: point.y / height })),
    ),
  ]
}
