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
  const path = /^https?:/i.test(name) ? (/^[^?#]*/.exec(name)?.[0] ?? '') : name
  return kinds.get(/\.([a-z0-9]{2,4})$/i.exec(path)?.[1]?.toLowerCase() ?? '')
}
