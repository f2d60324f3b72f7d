export {
  type AudioArchitecture,
  type AudioChunk,
  type AudioPlan,
  audioRate,
  chunksOf,
  type Hearing,
  heardAtOnce,
  longestSound,
  type Spectrogram,
} from './audio-architecture.ts'
export { needAudioArchitecture, openAudioArchitecture, openAudioEncoder } from './audio-encoder.ts'
export { planWithin } from './bounds.ts'
export { calibrateEncoder } from './calibration/calibrate-encoder.ts'
export { type Choice, chosenFor, formCounts } from './calibration/kept.ts'
export type { EncoderSettings } from './encoder.ts'
export { audioFamilies } from './families/audio/index.ts'
export { imageFamilies } from './families/index.ts'
export type { Grid } from './graph/builder.ts'
export { onnxVariables, openOnnxRuntime } from './graph/onnx-runtime.ts'
export type { Modality } from './graph/source.ts'
export {
  type ImageArchitecture,
  type ImageBounds,
  type ImagePlan,
  seenSize,
  type Tile,
  tilesOf,
  tokensOf,
} from './image-architecture.ts'
export { needImageArchitecture, openImageArchitecture, openImageEncoder } from './image-encoder.ts'
export { isChosen, weightsBytes } from './precision.ts'
export type { Raster } from './preprocess/resize.ts'
export { measureOperations } from './speed.ts'
