import { readFileSync } from 'node:fs'

/** The result of libmtmd for a prompt with one image between two texts: see oracle.cpp. */
export interface Told extends ToldPrompt<ToldTile> {
  size: [width: number, height: number]
}

/** The same for a sound. */
export interface ToldSound extends ToldPrompt<ToldChunk> {
  samples: number
}

interface ToldPrompt<Part> {
  layout: (ToldText | Part)[]
  /** Of every `tokenStep`th token as the next. */
  logprobs: number[]
}

interface ToldText {
  text: number[]
}

/** Tiles in the middle of many have only their number of embeddings and their positions. So have chunks. */
interface ToldChunk {
  tokens: number
  /** The position after it. */
  next: number
  /** The sum of all embeddings: `[width]` */
  sum?: number[]
  rows?: { row: number; values: number[] }[]
}

interface ToldTile extends ToldChunk {
  rows?: { row: number; position: [time: number, y: number, x: number]; values: number[] }[]
}

export const tokenStep = 8

/** The texts before and after the image. */
export const prompt = ['Look: ', ' What is it?'] as const

export const toldOf = (family: string): Told[] => fixtureOf(family)
export const heardOf = (family: string): ToldSound[] => fixtureOf(family)

const fixtureOf = (family: string) =>
  JSON.parse(readFileSync(new URL(`./fixtures/${family}.json`, import.meta.url), 'utf8'))
