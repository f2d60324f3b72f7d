import fc from 'fast-check'
import { expect, it } from 'vitest'
import { chunksOf, heardAtOnce } from '../../src/encoders/audio-architecture.ts'
import { heardApart } from '../../src/encoders/families/audio/parts/chunks.ts'

/** Three samples are a frame, one more frame begins a chunk, and a frame has two numbers of its chunk. */
const bands = 2
const framesOf = (samples: number) => Math.floor(samples / 3) + 1
const heardIn = (samples: Float32Array) =>
  Float32Array.from({ length: framesOf(samples.length) * bands }, (_, at) => (samples[0] ?? 0) * 1000 + at)
function* hear(samples: Float32Array) {
  yield
  return heardIn(samples)
}

it('each chunk of a sound is heard as if it were a whole sound, and together they are all of it', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), (length, samples) => {
      const sound = Float32Array.from({ length }, (_, at) => at)
      const { plan, listen, prepare } = heardApart({ samples, bands, framesOf, tokensOf: (frames) => frames, hear })
      const chunks = chunksOf(plan(length))
      const heard = heardAtOnce(listen(sound))
      expect(chunks.flatMap(({ from, to }) => [...sound.subarray(from, to)])).toEqual([...sound])
      for (const chunk of chunks) expect(prepare(heard, chunk)).toEqual(heardIn(sound.subarray(chunk.from, chunk.to)))
      expect(heard.values.length).toBe(chunks.reduce((sum, { frames }) => sum + frames * bands, 0))
    }),
  )
})
