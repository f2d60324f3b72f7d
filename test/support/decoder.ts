import { type Decoder, openDecoder } from '../../src/language/index.ts'

/** Opens a decoder for a few rows of one sequence. */
export const openSmall = (file: string, settings: Partial<Parameters<typeof openDecoder>[1]> = {}): Decoder =>
  openDecoder(file, {
    cells: 256,
    bytesPerCell: 2048,
    sequences: 1,
    batchRows: 16,
    threads: 1,
    kvType: 'f16',
    flashAttention: true,
    ...settings,
  })
