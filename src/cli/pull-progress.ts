import type { WriteStream } from 'node:tty'
import { Pace, type PullEvent } from '../models/index.ts'
import { bytesText } from '../sizes.ts'
import { durationText } from './figures.ts'

/** The interval between updates of the bar, in ms. */
const redraw = 100
/** The interval between lines without a terminal, in ms. */
const repeat = 5_000

/** Shows the progress of a pull: a line that is redrawn on a terminal, or a line from time to time. */
export class PullProgress {
  readonly #out: WriteStream
  readonly #moves: boolean
  readonly #pace = new Pace()
  #shown = 0
  #drawn = false
  #total = 0

  constructor(out: WriteStream) {
    this.#out = out
    this.#moves = out.isTTY === true
  }

  show(event: PullEvent): void {
    if (event.type === 'plan') {
      const bytes = event.files.reduce((sum, file) => sum + file.bytes, 0)
      const have = bytes - event.missing
      const files = event.files.map(({ path, bytes: size }) => `${path} (${bytesText(size)})`).join(', ')
      this.#line(`${event.name}: ${files}${have > 0 ? `; ${bytesText(have)} already downloaded` : ''}`)
    } else if (event.type === 'bytes') this.#bytes(event.done, event.total, event.file)
    else if (event.type === 'wait') this.#line(`${event.file} is being pulled by another process: waiting for it`)
    else if (event.type === 'retry') this.#line(`${event.why}: next attempt in ${durationText(event.seconds)}`)
    else if (this.#moves) this.#draw(`${event.file}: checking`)
  }

  /** Moves the cursor to the beginning of a line. */
  end(): void {
    if (this.#drawn) this.#out.write('\n')
    this.#drawn = false
  }

  #bytes(done: number, total: number, file: string): void {
    const now = performance.now()
    this.#total = total
    this.#pace.add(done)
    if (this.#shown > 0 && now - this.#shown < (this.#moves ? redraw : repeat) && done < total) return
    this.#shown = now
    const text = `${this.#amount(done)}${this.#speed(done)}  ${file}`
    if (this.#moves) this.#draw(text)
    else if (done < total) this.#line(text)
  }

  #amount(done: number): string {
    const part = this.#total === 0 ? 1 : done / this.#total
    const bar = this.#moves ? `[${'='.repeat(Math.round(part * 24)).padEnd(24)}] ` : ''
    return `${bar}${Math.floor(part * 100)}% of ${bytesText(this.#total)}`
  }

  #speed(done: number): string {
    const speed = this.#pace.of(done)
    if (speed === undefined) return ''
    return `, ${bytesText(speed)}/s, ${durationText((this.#total - done) / speed)} left`
  }

  #line(text: string): void {
    this.end()
    this.#out.write(`${text}\n`)
  }

  #draw(text: string): void {
    const width = this.#out.columns || 80
    // Returns to the beginning of the line, and erases the rest of a longer text.
    this.#out.write(`\r${text.slice(0, width - 1)}\u001b[K`)
    this.#drawn = true
  }
}
