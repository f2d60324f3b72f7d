import type { ChildProcess } from 'node:child_process'
import { statSync } from 'node:fs'
import { startProcess, type WireError } from '../children/index.ts'
import type { Choice, Modality } from '../encoders/index.ts'
import { availableMemory } from '../memory.ts'
import { programFile } from '../places.ts'
import { bytesText } from '../sizes.ts'
import type { EncoderStart } from './encoder-thread.ts'
import { toWire } from './protocol.ts'

/** `start`: chooses for these halves of the file, one after the other. */
export type ToCalibration = { type: 'start'; start: EncoderStart; modalities: readonly Modality[] } | { type: 'go' }

/** `turn`: asks whether the next run may begin. */
export type FromCalibration = { type: 'turn' } | ({ type: 'chosen' } & Chosen) | { type: 'failed'; error: WireError }

interface Chosen {
  choice: Choice
  modality: Modality
}

/** Memory of a calibration: bytes for what is computed, and for each byte of the file. */
const need = { values: 1e9, weights: 3 }

/** Pause before it, in ms: whoever has loaded the model asks now, and a process that starts takes time of theirs. */
const restMs = 1000

/** The engine around a calibration. */
export interface Calibrated {
  /** Whether there is no request. */
  readonly isIdle: boolean
  /** Encodes for all requests from now on with these forms. There is no request now. */
  adopt(choice: Choice, modality: Modality): void
  /** There will be no choice. */
  fail(error: WireError): void
}

/**
 * Chooses the forms of an encoder's matrices, once for each model and machine, in a process of its own with the lowest
 * priority. It computes, and the engine changes to its choice, only while there is no request: every request is answered
 * with one form from its beginning to its end.
 */
export class Calibration {
  readonly #start: EncoderStart
  readonly #modalities: readonly Modality[]
  #engine: Calibrated | undefined
  #child: ChildProcess | undefined
  #isAsked = false
  #chosen: Chosen[] = []

  /** @param modalities halves of the file whose forms are to be chosen */
  constructor(start: EncoderStart, modalities: readonly Modality[]) {
    this.#start = start
    this.#modalities = modalities
  }

  /** Begins soon. If it fails, the encoder stays as it is. */
  begin(engine: Calibrated): void {
    setTimeout(() => this.#begin(engine), restMs)
  }

  #begin(engine: Calibrated): void {
    const needed = need.values + need.weights * statSync(this.#start.file).size
    if (availableMemory() < needed) {
      engine.fail(toWire(new Error(`a calibration takes ${bytesText(needed)}, and less is free`)))
      return
    }
    const child = startProcess(programFile('engine/calibration-process'), {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
    })
    this.#engine = engine
    this.#child = child
    child.on('message', (message: FromCalibration) => {
      if (message.type === 'failed') engine.fail(message.error)
      else if (message.type === 'chosen') this.#chosen.push(message)
      else this.#isAsked = true
      this.look()
    })
    child.on('error', (error) => engine.fail(toWire(error)))
    child.once('exit', (code, signal) => {
      if (code !== 0) engine.fail(toWire(new Error(`the calibration ended with ${code ?? signal}`)))
    })
    child.unref()
    // One that could not be started cannot be sent anything.
    child.send?.({ type: 'start', start: this.#start, modalities: this.#modalities } satisfies ToCalibration, () => {})
  }

  /** To be called when a request has ended. */
  look(): void {
    if (!this.#engine?.isIdle) return
    const chosen = this.#chosen.shift()
    if (chosen !== undefined) this.#engine.adopt(chosen.choice, chosen.modality)
    else if (this.#isAsked) {
      this.#isAsked = false
      this.#child?.send({ type: 'go' } satisfies ToCalibration, () => {})
    }
  }
}
