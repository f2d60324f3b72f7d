import { execFile } from 'node:child_process'
import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import sharp from 'sharp'
import type { Image } from './images.ts'
import type { BenchModel } from './model-files.ts'
import { cacheFolder, compileWithPeer } from './peer.ts'

/** @returns libmtmd's time to encode all tiles of an image, in ms */
export async function peerEncodeTime(
  model: Pick<BenchModel, 'decoder' | 'projector' | 'patches'>,
  image: Image,
  threads: number,
): Promise<number> {
  const jpeg = Buffer.from(image.slice(image.indexOf(',') + 1), 'base64')
  const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true })
  const raw = path.join(cacheFolder, 'encode.raw')
  writeFileSync(raw, data)
  const { least = 0, most = 0 } = model.patches ?? {}
  const { stdout } = await promisify(execFile)(
    await encoder(),
    [model.decoder, model.projector, threads, least, most, raw, info.width, info.height].map(String),
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
