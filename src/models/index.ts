export { builtIn, findModel, listModels, type ModelCard } from './library.ts'
