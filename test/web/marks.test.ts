import { expect, it } from 'vitest'
import { marksOf } from '../../web/src/pages/ask/state/marks.ts'

const picture = { param: 'messages[0].content[0].image_url', width: 200, height: 100 }

it('the page draws what the server found in parts of the picture', () => {
  const box = { image: 0, label: 'cat', x1: 20, y1: 10, x2: 120, y2: 60 }
  const point = { image: 0, label: null, x: 50, y: 50 }
  expect(marksOf({ boxes: [box], points: [point] }, [picture])).toEqual([
    { label: 'cat', x: 0.1, y: 0.1, size: { width: 0.5, height: 0.5 } },
    { label: null, x: 0.25, y: 0.5 },
  ])
})

it('the page draws nothing on pages of a document that it does not show, and nothing for models that mark nothing', () => {
  const point = { image: 1, label: null, x: 50, y: 50 }
  expect(marksOf({ points: [point] }, [picture, picture])).toEqual([])
  expect(marksOf({ points: [point] }, [picture])).toEqual([])
  expect(marksOf({}, [picture])).toEqual([])
})
