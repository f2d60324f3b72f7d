import { z } from 'zod'

const units = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const

/** Milliseconds of `90s`, `15m` or `1h30m`; undefined for another text. */
function durationOf(text: string): number | undefined {
  if (!/^(\d{1,9}(\.\d{1,9})?(h|ms|m|s))+$/.test(text)) return undefined
  const parts = [...text.matchAll(/([\d.]+)(h|ms|m|s)/g)]
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * units[unit as keyof typeof units], 0)
}

/** A duration as Google's APIs write it: `900s`. */
export const durationText = (ms: number): string => `${ms / 1000}s`

/** A duration within bounds in ms, which are written out in the error. */
export const duration = (least: number, most: number) =>
  z
    .string()
    .refine(
      (text) => {
        const ms = durationOf(text)
        return ms !== undefined && ms >= least && ms <= most
      },
      { error: `must be a duration like 90s or 15m, from ${durationText(least)} to ${durationText(most)}` },
    )
    .transform((text) => durationOf(text) ?? least)
