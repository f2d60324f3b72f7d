import { describe, expect, it } from 'vitest'
import { kindOfFile } from '../src/attachments.ts'
import { read } from '../src/cli/question.ts'

const base64 = (head: string): string => Buffer.from(head.padEnd(64, '\0'), 'latin1').toString('base64')
const [webm, flac, png] = ['\x1a\x45\xdf\xa3', 'fLaC', '\x89PNG\r\n\x1a\n'].map(base64)

describe('the kind of a file', () => {
  it.each([
    [`data:video/mp4;base64,${flac}`, {}, 'video'],
    [`data:audio/wav;base64,${webm}`, { name: 'a.png' }, 'audio'],
    [`data:;base64,${png}`, { name: 'Clip.MP4' }, 'video'],
    [`data:;base64,${webm}`, {}, 'video'],
    [`data:application/octet-stream;base64,${flac}`, { name: 'a.bin' }, 'audio'],
    [`${webm}`, {}, 'video'],
    [`${png}`, {}, 'image'],
    [`${png}`, { type: 'Audio/mpeg' }, 'audio'],
    ['https://example.com/a.mp3?size=1.png', {}, 'audio'],
    ['https://example.com/a', {}, 'image'],
  ] as const)('is told by its type, then its name, then its bytes: %s %j', (url, hints, kind) => {
    expect(kindOfFile(url, hints)).toBe(kind)
  })

  it.each([
    ['data:;base64,', webm, 'video'],
    ['data:application/octet-stream;base64,', flac, 'audio'],
    ['data:image/png;base64,', png, 'image'],
  ])('is the same for a URL on the command line: %s%s', async (scheme, bytes, kind) => {
    const content = `${scheme}${bytes}`
    expect(await read({ name: content, content })).toEqual({ url: content, kind })
  })
})
