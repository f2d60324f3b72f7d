/** Options of `vi.waitFor` for a state that must come, however busy the machine is. */
export const patient = { timeout: 100_000, interval: 10 }
