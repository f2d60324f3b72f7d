/** Endings of files' names, by what a request attaches them as. The pages of a browser know them from here, too. */
const endings = {
  image: [
    ...['apng', 'avif', 'bmp', 'gif', 'heic', 'heif', 'jpg', 'jpeg', 'pbm', 'pdf', 'pgm', 'png', 'pnm', 'ppm'],
    ...['tif', 'tiff', 'webp'],
  ],
  video: ['mp4', 'm4v', 'mov', 'mkv', 'webm', 'avi', 'mpeg', 'mpg', '3gp', 'ogv'],
  audio: ['wav', 'mp3', 'ogg', 'oga', 'opus', 'flac', 'm4a', 'aac', 'weba'],
}

const kinds = new Map(
  (['image', 'video', 'audio'] as const).flatMap((kind) => endings[kind].map((ending) => [ending, kind] as const)),
)

/** What a file is by its name, or the path of its URL; undefined: its name does not say it. */
export function kindOfName(name: string): keyof typeof endings | undefined {
  return kinds.get(endingOf(name))
}

/** The format that an ending stands for, where they differ. */
const formats: Readonly<Record<string, string>> = { apng: 'png', jpg: 'jpeg', tif: 'tiff', heif: 'heic', m4v: 'mp4' }

/** The format of a file by its name, or the path of its URL; undefined: its name does not say it. */
export function formatOfName(name: string): string | undefined {
  const ending = endingOf(name)
  return kinds.has(ending) ? (formats[ending] ?? ending) : undefined
}

function endingOf(name: string): string {
  const path = /^https?:/i.test(name) ? (/^[^?#]*/.exec(name)?.[0] ?? '') : name
  return /\.([a-z0-9]{2,4})$/i.exec(path)?.[1]?.toLowerCase() ?? ''
}
