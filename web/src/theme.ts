import { effect } from '@preact/signals'
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
