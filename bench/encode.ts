import { execFile } from 'node:child_process'
import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import sharp from 'sharp'
import type { BenchModel } from './model-files.ts'
import { cacheFolder, compileWithPeer } from './peer.ts'
import type { Image } from './images.ts'

/** @returns the time that libmtmd takes to encode an image, all tiles of it, in ms */
export async function peerEncodeTime(model: BenchModel, image: Image, threads: number): Promise<number> {
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

/** `encode.cpp`, compiled where it has not been since it was changed. */
async function encoder(): Promise<string> {
  const source = fileURLToPath(new URL('./encode.cpp', import.meta.url))
  const program = path.join(cacheFolder, 'encode')
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    await compileWithPeer(source, `${program}.new`)
    renameSync(`${program}.new`, program)
  }
  return program
}
