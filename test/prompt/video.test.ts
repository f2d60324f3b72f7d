import { expect, it } from 'vitest'
import { videoFormatOf } from '../../src/prompt/index.ts'

const formatOf = (sees: string, title = '', hears: string | null = null) => videoFormatOf({ sees, hears, title })

/** The text of a prompt with `#` for each frame, or pair of frames. */
function textOf(
  family: string,
  views: readonly (readonly number[])[],
  seconds = 66,
  format = formatOf(family),
): string {
  const parts = format.layout({ views, seconds })
  expect(parts.filter((part) => typeof part === 'number')).toEqual(views.map((_, view) => view))
  return parts.map((part) => (typeof part === 'number' ? '#' : part)).join('')
}
const frames = [[0], [1.5], [65.25]]

// The texts are what the processors in Hugging Face's transformers write.
it.each([
  [
    'idefics3',
    'You are provided the following series of three frames from a 0:01:06 [H:MM:SS] video.\n\nFrame from 00:00:#\nFrame from 00:01:#\nFrame from 01:05:#\n\n',
  ],
  ['qwen3vl_merger', '<0.0 seconds>#<1.5 seconds>#<65.2 seconds>#'],
  ['glm4v', '<|begin_of_video|>#0.0 seconds#1.5 seconds#65.2 seconds<|end_of_video|>'],
  ['gemma4v', '00:00 # 00:01 # 01:05 #'],
  ['gemma4uv', '00:00 # 00:01 # 01:05 #'],
  ['internvl', 'Frame1: #\nFrame2: #\nFrame3: #\n'],
  ['resampler', '#\n#\n#\n'],
  ...['qwen2vl_merger', 'qwen2.5vl_merger', 'qwen2.5o'].map((family) => [family, '<|vision_start|>###<|vision_end|>']),
  // As llama.cpp's `mtmd_helper_video`.
  ['llava', 'Video:#[0m0.00s]##[1m5.25s]'],
])('the frames of a video stand in the text that %s was trained with', (family, text) => {
  expect(textOf(family, frames)).toBe(text)
})

it('a pair of frames has the middle of their times for Qwen3-VL, and the first one for others', () => {
  const pairs = [[0, 0.5], [1, 1.5], [2]]
  expect(textOf('qwen3vl_merger', pairs)).toBe('<0.2 seconds>#<1.2 seconds>#<2.0 seconds>#')
  expect(textOf('glm4v', pairs)).toBe('<|begin_of_video|>#0.0 seconds#1.0 seconds#2.0 seconds<|end_of_video|>')
  expect(textOf('llava', pairs)).toBe('Video:#[0m0.00s]##')
})

it('the generations of a family are told by their names, or by what else they have', () => {
  const older = '<|begin_of_video|>#0#1#65<|end_of_video|>'
  for (const title of ['GLM-4.1V-9B-Thinking', 'Glm 4.5V'])
    expect(textOf('', frames, 66, formatOf('glm4v', title))).toBe(older)
  expect(textOf('', frames, 66, formatOf('glm4v', 'GLM-4.6V Flash'))).toContain('65.2 seconds')
  const omni = formatOf('qwen3vl_merger', 'Qwen3-Omni', 'qwen3a')
  expect(textOf('', frames, 66, omni)).toBe('<|vision_start|>###<|vision_end|>')
  expect(omni.later?.([[0], [2], [4]])).toEqual([0, 26, 52])
})

// `get_rope_index` of transformers 4: the numbers of the views, times seconds between them, times steps of a second.
it.each([
  ['qwen2vl_merger', () => 1],
  ['qwen2.5vl_merger', (seconds: number) => seconds * 2],
  ['qwen2.5o', (seconds: number) => seconds * 25],
])('the time of a view is in its position for %s', (family, step) => {
  const { later } = formatOf(family)
  for (const perSecond of [2, 1, 1.6, 0.25]) {
    const between = 2 / perSecond
    const views = Array.from({ length: 40 }, (_, view) => [7 + view * between, 7 + (view + 0.5) * between])
    expect(later?.(views), `${perSecond}`).toEqual(views.map((_, view) => Math.floor(view * step(between) + 1e-9)))
  }
  // Views of one time are not one.
  expect(later?.([[3], [3], [3.01]])).toEqual([0, 1, 2])
  expect(later?.([])).toEqual([])
})

it('a number of frames is written in English words for SmolVLM2', () => {
  const wordsOf = (count: number) =>
    /series of (.*) frames from a (\S+)/.exec(
      textOf(
        'idefics3',
        Array.from({ length: count }, (_, at) => [at]),
        3671,
      ),
    )
  expect(wordsOf(64)?.slice(1)).toEqual(['sixty-four', '1:01:11'])
  const numbers = [1, 13, 20, 99, 100, 101, 250, 1000, 1005, 2345].map((count) => wordsOf(count)?.[1])
  expect(numbers).toEqual([
    ...['one', 'thirteen', 'twenty', 'ninety-nine', 'one hundred', 'one hundred and one', 'two hundred and fifty'],
    ...['one thousand', 'one thousand and five', 'two thousand, three hundred and forty-five'],
  ])
})
