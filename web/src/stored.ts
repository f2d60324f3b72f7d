import { effect, type Signal, signal } from '@preact/signals'

/** A value that this browser remembers. Where it may not, the value lasts as long as the page. */
export function stored(name: string, byDefault: string): Signal<string> {
  const value = signal(read(name) ?? byDefault)
  effect(() => {
    try {
      if (value.value === byDefault) localStorage.removeItem(name)
      else localStorage.setItem(name, value.value)
    } catch {
      // Private windows have no storage, or none left.
    }
  })
  // Another window of this browser may change it, or take it away with all others.
  addEventListener('storage', ({ key }) => {
    if (key === name || key === null) value.value = read(name) ?? byDefault
  })
  return value
}

function read(name: string): string | null {
  try {
    return localStorage.getItem(name)
  } catch {
    return null
  }
}
