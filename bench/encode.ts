import { execFile } from 'node:child_process'
import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import sharp from 'sharp'
import type { Image } from './images.ts'
import type { BenchModel } from './model-files.ts'
import { cacheFolder, compileWithPeer } from './peer.ts'

type PeerModel = Pick<BenchModel, 'decoder' | 'projector' | 'patches'>

/** What libmtmd encodes: frames of one size, `[frames, height, width, 3]`, or with a height of 0 a sound of `width` floats. */
export interface RawInput {
  bytes: Uint8Array
  width: number
  height: number
  frames?: number
}

/** @returns libmtmd's time to encode all tiles of an image, in ms */
export async function peerEncodeTime(model: PeerModel, image: Image, threads: number): Promise<number> {
  const jpeg = Buffer.from(image.slice(image.indexOf(',') + 1), 'base64')
  const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true })
  return peerRawTime(model, { bytes: data, width: info.width, height: info.height }, threads)
}

/** @returns libmtmd's time to encode it, in ms */
export async function peerRawTime(model: PeerModel, input: RawInput, threads: number): Promise<number> {
  const raw = path.join(cacheFolder, 'encode.raw')
  writeFileSync(raw, input.bytes)
  const { least = 0, most = 0 } = model.patches ?? {}
  const { width, height, frames = 1 } = input
  const { stdout } = await promisify(execFile)(
    await encoder(),
    [model.decoder, model.projector, threads, least, most, raw, width, height, frames].map(String),
  )
  return Number(stdout)
}

/** Compiles `encode.cpp` if it has changed. @returns the path of the program */
async function encoder(): Promise<string> {
  const source = fileURLToPath(new URL('./encode.cpp', import.meta.url))
  const program = path.join(cacheFolder, 'encode')
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    await compileWithPeer(source, `${program}.new`)
    renameSync(`${program}.new`, program)
  }
  return program
}
