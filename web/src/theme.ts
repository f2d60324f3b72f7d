import { effect, signal } from '@preact/signals'
import { stored } from './stored.ts'

/** `auto`: as the system has it. */
export const theme = stored('oriel.theme', 'auto')

effect(() => {
  const { dataset } = document.documentElement
  if (theme.value === 'auto') delete dataset.theme
  else dataset.theme = theme.value
})

const themes = ['auto', 'light', 'dark']

export function nextTheme(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] ?? 'auto'
}

/** Changes with the colours: what is drawn on a canvas must be drawn again. */
export const systemIsDark = signal(matchMedia('(prefers-color-scheme: dark)').matches)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', ({ matches }) => {
  systemIsDark.value = matches
})
