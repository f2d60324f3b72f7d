interface ProgressProps {
  label: string
  /** 0 to 1 */
  share: number
  /** What else is known, behind the percents. */
  text: string
  /** Whether the label is shown, too. */
  isNamed?: boolean
}

/** How far something is, as a bar and in words. */
export const Progress = ({ label, share, text, isNamed = true }: ProgressProps) => (
  <div class="advance">
    <div
      class="progress"
      role="progressbar"
      aria-label={label}
      aria-valuenow={Math.round(share * 100)}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div style={{ width: `${share * 100}%` }} />
    </div>
    <p class="small dim figure">
      {isNamed ? `${label} ` : ''}
      {Math.round(share * 100)} %{text === '' ? '' : ` · ${text}`}
    </p>
  </div>
)
