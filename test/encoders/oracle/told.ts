import { readFileSync } from 'node:fs'

/** What libmtmd makes of a prompt with one picture between two texts: see oracle.cpp. */
export interface Told {
  size: [width: number, height: number]
  layout: (ToldText | ToldTile)[]
  /** Of every `tokenStep`th token, to be the next. */
  logprobs: number[]
}

interface ToldText {
  text: number[]
}

/** Of the tiles in the middle of many only their number of embeddings and positions is told. */
interface ToldTile {
  tokens: number
  /** The position of what stands behind it. */
  next: number
  /** Of all embeddings. `[width]` */
  sum?: number[]
  rows?: { row: number; position: [time: number, y: number, x: number]; values: number[] }[]
}

export const tokenStep = 8

/** The texts before and behind the picture. */
export const prompt = ['Look: ', ' What is it?'] as const

export const toldOf = (family: string): Told[] =>
  JSON.parse(readFileSync(new URL(`./fixtures/${family}.json`, import.meta.url), 'utf8'))
