import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { regionsIn } from '../../src/prompt/index.ts'
import { inputs } from '../support/long.ts'

const json = (value: unknown): string => JSON.stringify(value)

describe('boxes and points in an answer', () => {
  it.each([
    [
      'Qwen2-VL',
      'The <|object_ref_start|>red cup<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|> is full.',
      { label: 'red cup', at: [1, 2, 3, 4], whole: null },
    ],
    ['Qwen2-VL, without its control tokens', 'a cup(1,2),(3,4)', { label: 'a cup', at: [1, 2, 3, 4], whole: null }],
    [
      'Qwen2.5-VL, in a fence',
      '```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}]\n```',
      { label: 'cat', at: [10, 20, 30, 40], whole: null },
    ],
    ['a point of Qwen', 'Here: {"point_2d": [5, 6], "label": "tip"}', { label: 'tip', at: [5, 6], whole: null }],
    ['Gemma', '[{"box_2d": [1, 2, 3, 4], "label": "dog"}]', { label: 'dog', at: [2, 1, 4, 3], whole: 1000 }],
    [
      'PaliGemma',
      '<loc0256><loc0512><loc0768><loc1023> cat ; ',
      { label: 'cat', at: [512, 256, 1023, 768], whole: 1024 },
    ],
    [
      'InternVL',
      'The <ref>red car</ref><box>[[100, 200, 300, 400]]</box> is new.',
      { label: 'red car', at: [100, 200, 300, 400], whole: null },
    ],
    ['InternVL, without tags', '[[100, 200, 300, 400]]', { label: null, at: [100, 200, 300, 400], whole: null }],
    ['MiniCPM-V', '<ref>hat</ref><box>100 200 300 400</box>', { label: 'hat', at: [100, 200, 300, 400], whole: null }],
    ['GLM', 'It is <|begin_of_box|>[[1,2,3,4]]<|end_of_box|>.', { label: null, at: [1, 2, 3, 4], whole: null }],
    [
      'GLM, as JSON',
      '<|begin_of_box|>[{"label":"cup","bbox_2d":[1,2,3,4]}]<|end_of_box|>',
      { label: 'cup', at: [1, 2, 3, 4], whole: null },
    ],
    ['Kimi-VL', 'bbox: [[0.25, 0.5, 0.75, 1.0]]', { label: null, at: [0.25, 0.5, 0.75, 1], whole: null }],
    [
      'LFM2-VL',
      '[{"label": "cat", "bbox": [0.25, 0.5, 0.75, 1.0]}]',
      { label: 'cat', at: [0.25, 0.5, 0.75, 1], whole: null },
    ],
    [
      'DeepSeek-OCR',
      '<|ref|>title<|/ref|><|det|>[[10, 20, 30, 40]]<|/det|>\n# Report',
      { label: 'title', at: [10, 20, 30, 40], whole: 999 },
    ],
    [
      'Granite-Docling',
      '<doctag><text><loc_10><loc_20><loc_30><loc_40>Report</text></doctag>',
      { label: 'text', at: [10, 20, 30, 40], whole: 500 },
    ],
    [
      'PaddleOCR-VL, the box around four corners',
      'Report<|LOC_10|><|LOC_21|><|LOC_30|><|LOC_20|><|LOC_31|><|LOC_40|><|LOC_11|><|LOC_41|>',
      { label: 'Report', at: [10, 20, 31, 41], whole: 1000 },
    ],
    [
      'PaddleOCR-VL 1.6',
      `<|TEXT_START|>Report<|TEXT_END|><|LOC_BEGIN|>${'<|LOC_10|><|LOC_20|>'.repeat(4)}<|LOC_END|>`,
      { label: 'Report', at: [10, 20, 10, 20], whole: 1000 },
    ],
    [
      'dots.ocr',
      '[{"bbox": [10, 20, 30, 40], "category": "Formula", "text": "$\\\\frac{1}{2}$"}]',
      { label: 'Formula', at: [10, 20, 30, 40], whole: null },
    ],
    ['HunyuanOCR', 'Report(10,20),(30,40)', { label: 'Report', at: [10, 20, 30, 40], whole: null }],
    ['Molmo', '<point x="61.5" y="40.4" alt="nose">nose</point>', { label: 'nose', at: [61.5, 40.4], whole: 100 }],
    ['UI-TARS', "click(point='<point>510 150</point>')", { label: null, at: [510, 150], whole: null }],
    [
      'a schema of one’s own',
      '{"button": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}',
      { label: 'button', at: [1, 2, 3, 4], whole: null },
    ],
    [
      'a corner and a size',
      '{"x": 1, "y": 2, "width": 3, "height": 4}',
      { label: null, at: [1, 2, 4, 6], whole: null },
    ],
  ])('are read from %s', (_, text, region) => {
    expect(regionsIn(text)).toEqual([region])
  })

  it('are several where an answer has several, in their order', () => {
    expect(regionsIn('<points x1="1" y1="2" x2="3" y2="4" alt="ears">ears</points>').map(({ at }) => at)).toEqual([
      [1, 2],
      [3, 4],
    ])
    expect(regionsIn('<box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box>')).toHaveLength(2)
    expect(regionsIn('{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": "cat"}')).toHaveLength(2)
    expect(regionsIn('cup(1,2),(3,4), hat(5,6),(7,8)\nA cat(1,1),(2,2)').map(({ label }) => label)).toEqual([
      'cup',
      'hat',
      'A cat',
    ])
  })

  it('are read as far as an answer goes that was cut off', () => {
    const cut = '[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, {"bbox_2d": [5, 6'
    expect(regionsIn(cut)).toEqual([{ label: 'cat', at: [1, 2, 3, 4], whole: null }])
  })

  it('are read behind brackets that are not JSON', () => {
    const text = 'The [sign says "hello] {and} [see](https://x.org): {"bbox": [1, 2, 3, 4], "label": "a \\"b\\""}'
    expect(regionsIn(text)).toEqual([{ label: 'a "b"', at: [1, 2, 3, 4], whole: null }])
  })

  it.each([
    '',
    'A red circle (left).',
    '[1, 2, 3]',
    '{"total": 12.5, "sizes": [1, 2, 3, 4]}',
    '{"a": ["',
    '<|begin_of_box|>42<|end_of_box|>',
    '<|begin_of_box|>3, 4<|end_of_box|>',
    '{"bbox": [1, 2, 3]}',
    '{"bbox": [1, 2, 3, null]}',
    '{"bbox": [1e999, 2, 3, 4]}',
    '<box>nothing</box>',
  ])('are not read from a text without any: %s', (text) => {
    expect(regionsIn(text)).toEqual([])
  })

  it('have finite numbers, two or four, whatever the text is', () => {
    const pieces = fc.constantFrom(
      ...['[', ']', '{', '}', '"', '\\', ':', ',', '(', ')', '<', '>', '|', ' ', '\n', '1', '-', '.', 'e9', 'é', '😀'],
      ...['<box>', '</box>', '<ref>', '</ref>', '<|det|>', '<|box_start|>', '<|begin_of_box|>', '<points ', 'x="1"'],
      ...['<loc0001>', '<loc_1>', '<|LOC_1|>', '"bbox_2d"', '"label":"a"', '[1,2,3,4]', '(1,2),(3,4)', 'true', '1e999'],
    )
    const texts = fc.oneof(
      fc.string(),
      fc.array(pieces, { maxLength: 60 }).map((all) => all.join('')),
    )
    fc.assert(
      fc.property(texts, (text) => {
        for (const { at } of regionsIn(text)) {
          expect([2, 4]).toContain(at.length)
          expect(at.every(Number.isFinite)).toBe(true)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('are the boxes that were written, with their labels, whatever stands around them', () => {
    const number = fc.oneof(fc.integer({ min: -2000, max: 2000 }), fc.double({ min: 0, max: 1, noNaN: true }))
    const label = fc.string().filter((text) => text.trim() !== '')
    const boxes = fc.array(fc.record({ bbox_2d: fc.tuple(number, number, number, number), label }), { minLength: 1 })
    const prose = fc.string({ unit: fc.constantFrom('a', ' ', '\n', '.', '!', ']', '}', ')') })
    fc.assert(
      fc.property(boxes, prose, prose, (written, before, after) => {
        expect(regionsIn(`${before}${json(written)}${after}`)).toEqual(
          written.map((one) => ({ label: one.label.trim(), at: one.bbox_2d.map((value) => value + 0), whole: null })),
        )
      }),
    )
  })

  it('take a time that grows with the length of the text, and no faster', () => {
    const all = [
      ...[
        '[',
        '{',
        '{"',
        '["',
        '[[',
        '[-',
        '[1e9,',
        '{"a":',
        '"\\',
        '(',
        '(1',
        '( ',
        '(1,2),(',
        '<',
        '<box>',
        '<box>1 ',
      ],
      ...['<ref>', '<ref></ref>  ', '<point ', '<points x="1" ', '<loc0001>', '<loc_1>', '<a><loc_1>', '<|LOC_1|>'],
      ...['{"bbox":[1,2,3,4]}', '[1,2,3,4],', 'a(1,2),(3,4)', ' ', '1', '-', '\n'],
    ]
    const length = inputs(2e5, 1e6)
    for (const piece of all) {
      const start = performance.now()
      regionsIn(piece.repeat(Math.ceil(length / piece.length)))
      // What is quadratic takes minutes.
      expect({ piece, isFast: performance.now() - start < 10_000 }).toEqual({ piece, isFast: true })
    }
    expect(regionsIn(`{"bbox": [${'[1,2,3,4],'.repeat(2e5)}[1,2,3,4]]}`)).toHaveLength(200_001)
  })
})
