import { Icon } from '../../../ui/icon.tsx'

interface SwitcherProps {
  /** What there are several of: `answers`. */
  what: string
  at: number
  count: number
  onPick: (at: number) => void
}

/** Steps through what stands at the same place. */
export function Switcher({ what, at, count, onPick }: SwitcherProps) {
  if (count < 2) return null
  const step = (by: number, label: string, icon: 'left' | 'right') => (
    <button
      type="button"
      class="button quiet icon"
      aria-label={label}
      aria-disabled={at + by < 0 || at + by >= count}
      onClick={() => {
        if (at + by >= 0 && at + by < count) onPick(at + by)
      }}
    >
      <Icon name={icon} />
    </button>
  )
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms
    <span class="switcher" role="group" aria-label={`Other ${what}`}>
      {step(-1, `Earlier of the ${what}`, 'left')}
      <span class="figure small">
        {at + 1} / {count}
      </span>
      {step(1, `Later of the ${what}`, 'right')}
    </span>
  )
}
