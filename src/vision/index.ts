export { type Architecture, type PicturePlan, type Tile, tilesOf } from './architecture.ts'
export { type EncoderSettings, openArchitecture, openEncoder, visionFamilies } from './encoder.ts'
export type { Grid } from './graph.ts'
export type { Raster } from './resize.ts'
