import { describe, expect, it } from 'vitest'
import { guessScale, marksIn, placeOf } from '../../web/src/pages/ask/state/marks.ts'

const size = { width: 1000, height: 500 }

describe('Boxes and points in an answer', () => {
  it.each([
    [
      'JSON of Qwen VL, in a fence',
      '```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}]\n```',
      { label: 'cat', at: [10, 20, 30, 40] },
    ],
    ['a point of Qwen VL', 'It is here: {"point_2d": [5, 6], "label": "tip"}', { label: 'tip', at: [5, 6] }],
    ['JSON of Gemini, from the top', '[{"box_2d": [1, 2, 3, 4], "label": "dog"}]', { label: 'dog', at: [2, 1, 4, 3] }],
    [
      'a schema of one’s own',
      '{"button": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}',
      { label: 'button', at: [1, 2, 3, 4] },
    ],
    [
      'InternVL',
      'The <ref>red car</ref><box>[[100, 200, 300, 400]]</box> is new.',
      { label: 'red car', at: [100, 200, 300, 400] },
    ],
    [
      'Qwen 2 VL',
      '<|object_ref_start|>a cup<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>',
      { label: 'a cup', at: [1, 2, 3, 4] },
    ],
    ['Qwen 2 VL without its control tokens', 'a cup(1,2),(3,4)', { label: '', at: [1, 2, 3, 4] }],
    ['DeepSeek VL2', '<|ref|>hat<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>', { label: 'hat', at: [1, 2, 3, 4] }],
    ['GLM', '<|begin_of_box|>[[1,2,3,4]]<|end_of_box|>', { label: '', at: [1, 2, 3, 4] }],
    ['Molmo', '<point x="61.5" y="40.4" alt="nose">nose</point>', { label: 'nose', at: [61.5, 40.4] }],
    ['UI-TARS', "click(point='<point>510 150</point>')", { label: '', at: [510, 150] }],
    ['PaliGemma', '<loc0256><loc0512><loc0768><loc1023> cat', { label: 'cat', at: [0.5, 0.25, 1023 / 1024, 0.75] }],
  ])('are read from %s', (_, text, mark) => {
    expect(marksIn(text)).toEqual([expect.objectContaining(mark)])
  })

  it('are not read from texts that have none', () => {
    for (const text of ['', 'A red circle (left).', '[1, 2, 3]', '{"total": 12.5}', '[see](https://x.org)', '{"a": ['])
      expect(marksIn(text)).toEqual([])
  })

  it('are several where an answer has several', () => {
    expect(marksIn('<points x1="1" y1="2" x2="3" y2="4" alt="ears">')).toHaveLength(2)
    expect(marksIn('[{"bbox": [1, 2, 3, 4]}, {"bbox": [5, 6, 7, 8]}]')).toHaveLength(2)
  })

  it('stand where the model meant, by the scale of its numbers', () => {
    const [box] = marksIn('{"bbox_2d": [100, 100, 300, 200]}')
    if (box === undefined) throw new Error('There is no box.')
    expect(guessScale([box], 'qwen3-vl-2b')).toBe('thousand')
    expect(guessScale([box], 'Qwen2.5-VL-7B')).toBe('seen')
    expect(placeOf(box, 'thousand', { seen: size, sent: size })).toEqual({
      x: 0.1,
      y: 0.1,
      width: expect.closeTo(0.2),
      height: 0.1,
    })
    expect(placeOf(box, 'seen', { seen: size, sent: size })).toMatchObject({ x: 0.1, y: 0.2, height: 0.2 })
  })

  it('are found fast in a long text of brackets', () => {
    expect(marksIn('['.repeat(5000))).toEqual([])
    expect(marksIn('{"'.repeat(20_000))).toEqual([])
  })
})
