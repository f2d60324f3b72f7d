import type { TensorPlan } from '../../../support/gguf-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { bias, linear, matrix, norm } from '../weights.ts'
import { clipMetadata, clipTensors } from './llava.ts'

/** llama.cpp assumes this number of patches along each edge. */
const side = 24
const patch = 4
const shape = { edge: side * patch, patch, metadata: clipMetadata }

export const mobilevlm: Family = {
  name: 'ldp',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeVision(projector, {
      ...{ type: 'ldp', ...shape },
      tensors: [
        ...clipTensors(side),
        ...linear('mm.model.mlp.1', towerWidth, textWidth),
        ...linear('mm.model.mlp.3', textWidth, textWidth),
        ...block('mm.model.mb_block.1'),
        ...block('mm.model.mb_block.2'),
      ],
    })
  },
}

export const mobilevlm2: Family = {
  name: 'ldpv2',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeVision(projector, {
      ...{ type: 'ldpv2', ...shape },
      tensors: [
        ...clipTensors(side),
        ...linear('mm.model.mlp.0', towerWidth, textWidth),
        ...linear('mm.model.mlp.2', textWidth, textWidth),
        depthwise('mm.model.peg.0.weight'),
        bias('mm.model.peg.0.bias', textWidth),
      ],
    })
  },
}

const block = (name: string): TensorPlan[] => [
  depthwise(`${name}.block.0.0.weight`),
  ...norm(`${name}.block.0.1`, textWidth),
  ...linear(`${name}.block.1.fc1`, textWidth, textWidth / 4),
  ...linear(`${name}.block.1.fc2`, textWidth / 4, textWidth),
  matrix(`${name}.block.2.0.weight`, textWidth, textWidth),
  ...norm(`${name}.block.2.1`, textWidth),
]

/** llama.cpp accepts these only in 16 bits, as converters write them. */
const depthwise = (name: string): TensorPlan => ({ name, shape: [3, 3, 1, textWidth], fill: { half: 1 / 3 } })
