export { findModel, listModels, type ModelCard } from './library.ts'
