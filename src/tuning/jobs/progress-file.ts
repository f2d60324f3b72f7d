import { closeSync, openSync } from 'node:fs'
import { open, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** How often new lines are looked for, in ms. */
const lookMs = 100
const chunkBytes = 1 << 16
/** Bytes of a line: the rest of a longer one is left out. */
const longestLine = 100_000

/**
 * What a trainer writes on its standard output. It is a file, so that what the trainer says while nobody reads is not lost: its
 * server may be killed, and the next one reads what was left.
 */
export class ProgressFile {
  readonly #file: string
  readonly #readFile: string

  /** @param folder of the job */
  constructor(folder: string) {
    this.#file = path.join(folder, 'progress.jsonl')
    this.#readFile = `${this.#file}.read`
  }

  /** Empties it for a process that is about to start. @returns the descriptor for its standard output, to be closed by `close` */
  begin(): { fd: number; close(): void } {
    const fd = openSync(this.#file, 'w')
    return { fd, close: () => closeSync(fd) }
  }

  /** Keeps how much of it has been taken in. */
  async noteRead(bytes: number): Promise<void> {
    await writeFile(this.#readFile, String(bytes))
  }

  /** The lines that a process has left which nobody took in. */
  async left(): Promise<string[]> {
    const from = Number(await readFile(this.#readFile, 'utf8').catch(() => '0'))
    const lines: string[] = []
    await this.follow(Promise.resolve(), (found) => void lines.push(...found), from).catch(() => {})
    return lines
  }

  /**
   * Reads lines as they are written.
   * @param ended when nothing more will be written
   * @param onLines gets them with the number of bytes up to there
   */
  async follow(
    ended: Promise<unknown>,
    onLines: (lines: readonly string[], bytes: number) => void,
    from = 0,
  ): Promise<void> {
    const handle = await open(this.#file, 'r')
    try {
      const over = new AbortController()
      const end = (): void => over.abort()
      void ended.then(end, end)
      const chunk = Buffer.alloc(chunkBytes)
      let at = from
      let rest = Buffer.alloc(0)
      for (let isLast = false; ; ) {
        const { bytesRead } = await handle.read(chunk, 0, chunkBytes, at)
        at += bytesRead
        const text = Buffer.concat([rest, chunk.subarray(0, bytesRead)])
        const end = text.lastIndexOf(10) + 1
        rest = Buffer.from(text.subarray(end, end + longestLine))
        // A bar of progress returns to the beginning of its line.
        const lines = text
          .subarray(0, end)
          .toString()
          .split(/[\r\n]+/)
        if (end > 0) onLines(lines.filter(Boolean), at - (text.length - end))
        if (bytesRead > 0) continue
        if (isLast) break
        // Not a race with `ended`: each would stay in memory until then.
        await sleep(lookMs, undefined, { signal: over.signal }).catch(() => {})
        isLast = over.signal.aborted
      }
      if (rest.length > 0) onLines([rest.toString()], at)
    } finally {
      await handle.close()
    }
  }
}
