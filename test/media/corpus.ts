import { execFile, execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { height, maskedOverWhite, overWhite, type Pixels, sources, width, writeSources } from './sources.ts'

/** One file of the corpus: how it is made, and what its first image must be. */
export interface Specimen {
  readonly name: string
  /** A shell command, run in the folder of the corpus. It writes the file to stdout, or to the path that replaces `@`. */
  readonly command: string
  readonly shows: Pixels
  readonly within: Tolerance
}

/** The largest allowed difference of a sample (0 to 255), and the largest mean difference. */
interface Tolerance {
  readonly max: number
  readonly mean: number
}

/** Lossless. */
const exact: Tolerance = { max: 0, mean: 0 }
/** 16-bit samples or alpha, rounded to 8 bits. */
const rounded: Tolerance = { max: 2, mean: 0.7 }
/** Samples of four to six bits. */
const coarse: Tolerance = { max: 9, mean: 5 }
/** Two colour conversions with 8 bits in between. */
const profiled: Tolerance = { max: 14, mean: 2 }
/** A codec at high quality with full chroma; and with a quarter of the chroma, which blurs the edge of the red corner. */
const lossy: Tolerance = { max: 48, mean: 3 }
const chroma: Tolerance = { max: 140, mean: 5 }

const { rgb, grey, shades, bits, flat } = sources
const [clear, clearGrey, masked] = [overWhite('rgb'), overWhite('grey'), maskedOverWhite('flat')]
const icc = '/usr/share/color/icc'
const inks = `convert -size ${width}x${height} -depth 8 cmyk:cmyk.raw -quality 97 -sampling-factor 1x1`
const toAdobeRgb = `-profile ${icc}/sRGB.icc -profile ${icc}/compatibleWithAdobeRGB1998.icc`
/** Adds a profile to a file without converting its pixels. */
const tagged = (profile: string, file: string): string => `exiftool -q '-icc_profile<=${icc}/${profile}' -o - ${file}`
const turned = (flips: string): string => `pamflip ${flips} rgb.ppm`
/** The eight EXIF orientations: how to flip an upright image so that the orientation makes it upright again. */
const orientations = ['-null', '-lr', '-r180', '-tb', '-xy', '-ccw', '-xform=transpose,leftright,topbottom', '-cw']

const table: readonly [name: string, command: string, shows: Pixels, within: Tolerance][] = [
  ['png', 'pnmtopng rgb.ppm', rgb, exact],
  ['png, interlaced', 'pnmtopng -interlace rgb.ppm', rgb, exact],
  ['png, 16-bit', 'pnmtopng deep.ppm', rgb, rounded],
  ['png, 16-bit, interlaced', 'pnmtopng -interlace deep.ppm', rgb, rounded],
  [
    'png, 16-bit with alpha',
    'convert deep.ppm alpha.pgm -compose copyopacity -composite -depth 16 png64:@',
    clear,
    rounded,
  ],
  ['png, grey', 'pnmtopng grey.pgm', grey, exact],
  [
    'png, grey, 16-bit',
    'convert grey.pgm -depth 16 -define png:bit-depth=16 -define png:color-type=0 png:@',
    grey,
    exact,
  ],
  ['png, grey, 4-bit', 'convert shades.pgm -define png:bit-depth=4 -define png:color-type=0 png:@', shades, exact],
  ['png, grey, 2-bit', 'pnmtopng shades.pgm', shades, exact],
  ['png, 1-bit', 'pnmtopng bits.pbm', bits, exact],
  ['png, palette', 'pnmtopng flat.ppm', flat, exact],
  ['png, palette, 8-bit', 'convert flat.ppm -define png:bit-depth=8 png8:@', flat, exact],
  ['png, palette, interlaced', 'pnmtopng -interlace flat.ppm', flat, exact],
  ['png, palette with tRNS', 'pnmtopng -alpha=mask.pgm flat.ppm', masked, exact],
  ['png, alpha', 'pnmtopng -alpha=alpha.pgm rgb.ppm', clear, rounded],
  ['png, alpha, interlaced', 'pnmtopng -interlace -alpha=alpha.pgm rgb.ppm', clear, rounded],
  ['png, grey with alpha', 'pnmtopng -alpha=alpha.pgm grey.pgm', clearGrey, rounded],
  ['png, grey with tRNS', 'pnmtopng -transparent==rgb:fa/fa/fa grey.pgm', whitened(grey, 250), exact],
  ['png, rgb with tRNS', 'pnmtopng -force -transparent==rgb:e6/14/1e rgb.ppm', whitened(rgb, 230), exact],
  ['png, text chunks', 'convert rgb.ppm -set comment words png:@', rgb, exact],
  ['png, Adobe RGB', `convert rgb.ppm ${toAdobeRgb} png24:@`, rgb, profiled],
  ['png, animated', 'apngasm apng.png frame0.png >/dev/null; cat apng.png', flat, exact],

  ['jpeg', 'cjpeg -quality 97 -sample 1x1 rgb.ppm', rgb, lossy],
  ['jpeg, halved chroma', 'cjpeg -quality 97 -sample 2x2 rgb.ppm', rgb, chroma],
  ['jpeg, chroma halved in one direction', 'cjpeg -quality 97 -sample 1x2 rgb.ppm', rgb, chroma],
  ['jpeg, progressive', 'cjpeg -quality 97 -sample 1x1 -progressive rgb.ppm', rgb, lossy],
  ['jpeg, arithmetic', 'cjpeg -quality 97 -sample 1x1 -arithmetic rgb.ppm', rgb, lossy],
  ['jpeg, arithmetic and progressive', 'cjpeg -quality 97 -sample 1x1 -arithmetic -progressive rgb.ppm', rgb, lossy],
  ['jpeg, restart markers', 'cjpeg -quality 97 -sample 1x1 -restart 1 rgb.ppm', rgb, lossy],
  ['jpeg, grey', 'cjpeg -quality 97 -grayscale grey.pgm', grey, lossy],
  ['jpeg, RGB without YCbCr', 'cjpeg -quality 97 -rgb rgb.ppm', rgb, lossy],
  [
    'jpeg, grey with an RGB profile',
    `cjpeg -quality 97 -grayscale grey.pgm >grey.jpg; ${tagged('sRGB.icc', 'grey.jpg')}`,
    grey,
    lossy,
  ],
  ['jpeg, YCCK with an RGB profile', `${inks} jpeg:inks.jpg; ${tagged('sRGB.icc', 'inks.jpg')}`, rgb, lossy],
  [
    'png, an invalid profile',
    `head -c 600 rgb.ppm >none.icc; exiftool -q '-icc_profile<=none.icc' -o - rgb.png`,
    rgb,
    exact,
  ],
  ['png, 16-bit, Adobe RGB', `convert deep.ppm ${toAdobeRgb} -depth 16 png48:@`, rgb, profiled],
  [
    'webp, Adobe RGB',
    `convert rgb.ppm ${toAdobeRgb} png24:adobe.png; cwebp -quiet -lossless -metadata icc adobe.png -o @`,
    rgb,
    profiled,
  ],
  [
    'avif, Adobe RGB',
    `convert rgb.ppm ${toAdobeRgb} png24:adobe.png; avifenc -s 8 --lossless adobe.png @ >/dev/null`,
    rgb,
    profiled,
  ],
  ['jpeg, YCCK', `${inks} jpeg:@`, rgb, lossy],
  [
    'jpeg, CMYK with a profile',
    `convert rgb.ppm -profile ${icc}/sRGB.icc -profile ${icc}/ghostscript/default_cmyk.icc -quality 98 -sampling-factor 1x1 jpeg:@`,
    rgb,
    { max: 255, mean: 12 },
  ],
  ['jpeg, Adobe RGB', `convert rgb.ppm ${toAdobeRgb} -quality 97 -sampling-factor 1x1 jpeg:@`, rgb, lossy],

  ['gif', 'pamtogif flat.ppm', flat, exact],
  ['gif, interlaced', 'pamtogif -interlace flat.ppm', flat, exact],
  ['gif, 1987', 'convert flat.ppm gif87:@', flat, exact],
  ['gif, transparent', 'convert masked.png gif:@', masked, exact],
  ['gif, animated', 'convert -delay 10 flat.ppm frame1.ppm frame2.ppm frame3.ppm gif:@', flat, exact],
  [
    'gif, optimized frames',
    'convert -delay 10 flat.ppm frame1.ppm frame2.ppm frame3.ppm -layers optimize gif:@',
    flat,
    exact,
  ],

  ['bmp, 24-bit', 'ppmtobmp -bpp=24 rgb.ppm', rgb, exact],
  ['bmp, 8-bit', 'ppmtobmp -bpp=8 flat.ppm', flat, exact],
  ['bmp, 4-bit', 'ppmtobmp -bpp=4 flat.ppm', flat, exact],
  ['bmp, 1-bit', 'ppmtobmp -bpp=1 bits.pbm', bits, exact],
  ['bmp, OS/2', 'ppmtobmp -os2 -bpp=24 rgb.ppm', rgb, exact],
  ['bmp, OS/2, palette', 'ppmtobmp -os2 -bpp=8 flat.ppm', flat, exact],
  ['bmp, version 3', 'convert rgb.ppm bmp3:@', rgb, exact],
  ['bmp, 8-bit, run-length encoded', 'convert flat.ppm -type Palette -compress RLE bmp3:@', flat, exact],
  ['bmp, 16-bit 565', 'convert rgb.ppm -define bmp:subtype=RGB565 bmp:@', rgb, coarse],
  ['bmp, 16-bit 555', 'convert rgb.ppm -define bmp:subtype=RGB555 bmp:@', rgb, coarse],
  ['bmp, 32-bit with alpha', 'convert rgba.png bmp:@', clear, rounded],
  ['bmp, 32-bit', 'convert rgb.ppm -alpha set -define bmp:format=bmp3 bmp3:@', rgb, exact],

  ['tiff', 'pamtotiff -none rgb.ppm', rgb, exact],
  ['tiff, LZW', 'pamtotiff -lzw rgb.ppm', rgb, exact],
  ['tiff, LZW with a predictor', 'tiffcp -c lzw:2 rgb.tif @', rgb, exact],
  ['tiff, deflate', 'pamtotiff -adobeflate rgb.ppm', rgb, exact],
  ['tiff, deflate with a predictor', 'tiffcp -c zip:2 rgb.tif @', rgb, exact],
  ['tiff, PackBits', 'pamtotiff -packbits rgb.ppm', rgb, exact],
  ['tiff, JPEG', 'convert rgb.ppm -compress JPEG -quality 97 -sampling-factor 1x1 tiff:@', rgb, lossy],
  ['tiff, JPEG as RGB', 'tiffcp -r 16 -c jpeg:r:97 rgb.tif @', rgb, lossy],
  ['tiff, CCITT group 3', 'tiffcp -c g3 bits.tif @', bits, exact],
  ['tiff, CCITT group 3 in two dimensions', 'tiffcp -c g3:2d bits.tif @', bits, exact],
  ['tiff, CCITT group 4', 'tiffcp -c g4 bits.tif @', bits, exact],
  [
    'tiff, CCITT group 4, 0 is white',
    'convert bits.pbm -compress Group4 -define quantum:polarity=min-is-white tiff:@',
    bits,
    exact,
  ],
  ['tiff, tiles', 'tiffcp -t -w 32 -l 16 rgb.tif @', rgb, exact],
  ['tiff, tiles, LZW', 'tiffcp -t -w 16 -l 16 -c lzw:2 rgb.tif @', rgb, exact],
  ['tiff, strips', 'tiffcp -r 5 rgb.tif @', rgb, exact],
  ['tiff, planes', 'tiffcp -p separate rgb.tif @', rgb, exact],
  ['tiff, big-endian', 'tiffcp -B rgb.tif @', rgb, exact],
  ['tiff, big (64-bit)', 'tiffcp -8 rgb.tif @', rgb, exact],
  ['tiff, 16-bit', 'convert deep.ppm tiff:@', rgb, rounded],
  ['tiff, grey', 'pamtotiff grey.pgm', grey, exact],
  ['tiff, grey, 4-bit', 'convert shades.pgm -depth 4 tiff:@', shades, exact],
  ['tiff, 1-bit', 'cat bits.tif', bits, exact],
  ['tiff, palette', 'pamtotiff -indexbits=8 flat.ppm', flat, exact],
  ['tiff, palette, 4-bit', 'pamtotiff -indexbits=4 flat.ppm', flat, exact],
  ['tiff, alpha', 'convert rgba.png -compress LZW tiff:@', clear, rounded],
  ['tiff, premultiplied alpha', 'convert rgba.png -define tiff:alpha=associated tiff:@', clear, { max: 2, mean: 1 }],
  ['tiff, 16-bit with alpha', 'convert rgba.png -depth 16 tiff:@', clear, rounded],
  ['tiff, CMYK', `${inks} -compress LZW tiff:@`, rgb, rounded],
  [
    'tiff, floating point',
    'convert rgb.ppm -colorspace RGB -compress none -depth 32 -define quantum:format=floating-point tiff:@ 2>/dev/null || true',
    rgb,
    rounded,
  ],
  ['tiff, Adobe RGB', `convert rgb.ppm ${toAdobeRgb} tiff:@`, rgb, profiled],
  ['tiff, several pages', 'tiffcp flat.tif frame1.tif frame2.tif frame3.tif @', flat, exact],

  ['pnm, P1', 'cat bits.pbm', bits, exact],
  ['pnm, P2', 'pnmtoplainpnm grey.pgm', grey, exact],
  ['pnm, P3', 'pnmtoplainpnm rgb.ppm', rgb, exact],
  ['pnm, P3, 16-bit', 'pnmtoplainpnm deep.ppm', rgb, rounded],
  ['pnm, P4', 'pnmtopnm bits.pbm', bits, exact],
  ['pnm, P5', 'cat grey.pgm', grey, exact],
  ['pnm, P5 with few shades', 'pamdepth 3 shades.pgm', shades, exact],
  ['pnm, P6', 'cat rgb.ppm', rgb, exact],
  ['pnm, P6, 16-bit', 'cat deep.ppm', rgb, rounded],
  ['pnm, P7', 'pamtopam <rgb.ppm', rgb, exact],
  ['pnm, P7, grey', 'pamtopam <grey.pgm', grey, exact],
  ['pnm, P7, black and white', 'pamtopam <bits.pbm', bits, exact],
  ['pnm, P7, alpha', 'pngtopam -alphapam rgba.png', clear, rounded],
  ['pnm, P7, grey with alpha', 'pngtopam -alphapam greya.png', clearGrey, rounded],

  ['webp', 'cwebp -quiet -q 98 rgb.png -o @', rgb, chroma],
  ['webp, lossless', 'cwebp -quiet -lossless -exact rgb.png -o @', rgb, exact],
  ['webp, lossless with alpha', 'cwebp -quiet -lossless -exact rgba.png -o @', clear, rounded],
  ['webp, lossy with alpha', 'cwebp -quiet -q 98 rgba.png -o @', clear, chroma],
  ['webp, animated', 'img2webp -lossless flat.png frame1.png frame2.png frame3.png -o @ >/dev/null', flat, exact],
  ['webp, from a gif', 'convert -delay 10 flat.ppm frame1.ppm gif:two.gif; gif2webp -quiet two.gif -o @', flat, exact],

  ['avif, lossless', 'avifenc -s 8 --lossless rgb.png @ >/dev/null', rgb, exact],
  ['avif, full chroma', 'avifenc -s 8 --min 0 --max 5 -y 444 rgb.png @ >/dev/null', rgb, lossy],
  ['avif, quarter chroma', 'avifenc -s 8 --min 0 --max 5 -y 420 rgb.png @ >/dev/null', rgb, chroma],
  ['avif, grey', 'avifenc -s 8 --min 0 --max 5 -y 400 grey.png @ >/dev/null', grey, lossy],
  ['avif, 10-bit', 'avifenc -s 8 --min 0 --max 5 -y 444 -d 10 deep.png @ >/dev/null', rgb, lossy],
  ['avif, 12-bit', 'avifenc -s 8 --min 0 --max 5 -y 444 -d 12 deep.png @ >/dev/null', rgb, lossy],
  ['avif, alpha', 'avifenc -s 8 --lossless rgba.png @ >/dev/null', clear, rounded],
  ['avif, several in a sequence', 'avifenc -s 8 --lossless flat.png frame1.png frame2.png @ >/dev/null', flat, exact],

  [
    'avif, rotated by its container',
    'pamflip -cw rgb.ppm | pnmtopng >cw.png; avifenc -s 8 --lossless --irot 1 cw.png @ >/dev/null',
    rgb,
    exact,
  ],
  [
    'avif, mirrored by its container',
    'pamflip -lr rgb.ppm | pnmtopng >lr.png; avifenc -s 8 --lossless --imir 1 lr.png @ >/dev/null',
    rgb,
    exact,
  ],

  ['heic, lossless', 'heif-enc -L rgb.png -o @ >/dev/null', rgb, lossy],
  ['heic', 'heif-enc -q 95 -p chroma=444 rgb.png -o @ >/dev/null', rgb, lossy],
  ['heic, quarter chroma', 'heif-enc -q 95 -p chroma=420 rgb.png -o @ >/dev/null', rgb, chroma],
  ['heic, alpha', 'heif-enc -q 95 -p chroma=444 rgba.png -o @ >/dev/null', clear, lossy],
  ['heic, grey', 'heif-enc -q 95 grey.png -o @ >/dev/null', grey, lossy],
  ['heic, 10-bit', 'heif-enc -q 95 -p chroma=444 -b 10 deep.png -o @ >/dev/null', rgb, lossy],
  [
    'heic, Adobe RGB',
    `convert rgb.ppm ${toAdobeRgb} png24:adobe.png; heif-enc -q 95 -p chroma=444 adobe.png -o @ >/dev/null`,
    rgb,
    lossy,
  ],
]

const oriented: typeof table = orientations.flatMap((flips, index) => {
  const tag = `exiftool -q -n -IFD0:Orientation=${index + 1} -o -`
  const name = `EXIF orientation ${index + 1}`
  return [
    [`jpeg, ${name}`, `${turned(flips)} | cjpeg -quality 97 -sample 1x1 >turned.jpg; ${tag} turned.jpg`, rgb, lossy],
    [`png, ${name}`, `${turned(flips)} | pnmtopng >turned.png; ${tag} turned.png`, rgb, exact],
    [`tiff, ${name}`, `${turned(flips)} | pamtotiff >turned.tif; ${tag} turned.tif`, rgb, exact],
    [
      `webp, ${name}`,
      `${turned(flips)} | pnmtopng >turned.png; cwebp -quiet -lossless turned.png -o turned.webp; ${tag} turned.webp`,
      rgb,
      exact,
    ],
  ]
})

export const corpus: readonly Specimen[] = [...table, ...oriented].map(([name, command, shows, within]) => ({
  name,
  command,
  shows,
  within,
}))

/** Variants that libvips does not read. */
export const unread: readonly (readonly [name: string, command: string])[] = [
  ['tiff, planes in tiles', 'tiffcp -p separate -t -w 32 -l 32 rgb.tif @'],
  ['tiff, Lab in 8 bits', 'convert rgb.ppm -colorspace Lab tiff:@'],
]

/** The first program of the corpus that is not installed. */
export function missingEncoder(): string | undefined {
  const needed = [
    'apngasm',
    'avifenc',
    'cjpeg',
    'identify',
    'cwebp',
    'exiftool',
    'heif-enc',
    'pnmtopng',
    'qpdf',
    'tiffcp',
  ]
  return needed.find((program) => {
    try {
      execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
      return false
    } catch {
      return true
    }
  })
}

/** Writes the sources and the files that several specimens start from. */
export async function prepare(folder: string): Promise<void> {
  writeSources(folder)
  await shell(
    folder,
    `for name in rgb flat frame1 frame2 frame3 deep; do pnmtopng $name.ppm >$name.png; done
     ln flat.png frame0.png
     for name in flat frame1 frame2 frame3 rgb; do pamtotiff $name.ppm >$name.tif; done
     pnmtopng grey.pgm >grey.png; pamtotiff bits.pbm >bits.tif
     pnmtopng -alpha=alpha.pgm rgb.ppm >rgba.png; pnmtopng -alpha=alpha.pgm grey.pgm >greya.png
     pnmtopng -alpha=mask.pgm flat.ppm >masked.png`,
  )
}

/** Runs a specimen's command. @throws Error with the output of the command */
export async function make({ command }: Pick<Specimen, 'command'>, folder: string): Promise<Buffer> {
  const file = join(folder, `out-${made++}`)
  await shell(folder, command.includes('@') ? command.replace('@', file) : `{ ${command}; } >${file}`)
  return await readFile(file)
}

let made = 0

const shell = (cwd: string, command: string) =>
  promisify(execFile)('bash', ['-euo', 'pipefail', '-c', command], { cwd })

/** A source in which the pixels with this red value are white. */
function whitened(source: Pixels, red: number): Pixels {
  const shown = source.rgb.slice()
  for (let at = 0; at < shown.length; at += 3) if (shown[at] === red) shown.fill(255, at, at + 3)
  return { ...source, rgb: shown }
}
