import { writeAudio } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { matrix } from '../weights.ts'

const specials = ['<|audio>', '<audio|>']

/** 12B: it has no tower. */
export const gemma4ua: Family = {
  name: 'gemma4ua',
  isExact: true,
  write(decoder, projector) {
    writeDecoder(decoder, { specials })
    const tensors = [matrix('mm.a.input_projection.weight', 640, textWidth)]
    writeAudio(projector, { ...{ type: 'gemma4ua', width: 64, bands: 128, layers: 0 }, tensors })
  },
}
