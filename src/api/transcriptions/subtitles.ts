/** A text and when it is said, in seconds. */
export interface Segment {
  start: number
  end: number
  text: string
}

/** SubRip. */
export const srtOf = (segments: readonly Segment[]): string =>
  segments
    .map(({ start, end, text }, index) => `${index + 1}\n${clock(start, ',')} --> ${clock(end, ',')}\n${lines(text)}\n`)
    .join('\n')

export const vttOf = (segments: readonly Segment[]): string =>
  [
    'WEBVTT\n',
    ...segments.map(({ start, end, text }) => `${clock(start, '.')} --> ${clock(end, '.')}\n${lines(text)}\n`),
  ].join('\n')

/** An empty line would end the text, and an arrow in it would be a time. */
const lines = (text: string): string => text.replace(/\n{2,}/g, '\n').replaceAll('-->', '->')

/** `00:01:02,500` */
function clock(seconds: number, mark: string): string {
  const ms = Math.round(seconds * 1000)
  const two = (value: number): string => String(value).padStart(2, '0')
  const whole = Math.floor(ms / 1000)
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${mark}${String(ms % 1000).padStart(3, '0')}`
}
