export { type Architecture, type PicturePlan, type Tile, tilesOf } from './architecture.ts'
export { type EncoderSettings, openArchitecture, openEncoder } from './encoder.ts'
export type { Raster } from './resize.ts'
