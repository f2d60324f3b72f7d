/** A number of bytes with a unit, rounded: `8.1 GB`. */
export function bytesText(bytes: number): string {
  const [unit, size] = bytes < 1e6 ? ['kB', 1e3] : bytes < 1e9 ? ['MB', 1e6] : bytes < 1e13 ? ['GB', 1e9] : ['TB', 1e12]
  return `${(bytes / size).toFixed(bytes < 100 * size ? 1 : 0)} ${unit}`
}
