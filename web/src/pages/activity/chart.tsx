import 'uplot/dist/uPlot.min.css'
import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'
import { systemIsDark, theme } from '../../theme.ts'

export interface Line {
  readonly label: string
  /** A colour of the design: `--accent`. */
  readonly colour: string
  readonly values: readonly (number | null)[]
}

interface ChartProps {
  title: string
  /** Seconds since 1970, one for each value. */
  times: readonly number[]
  lines: readonly Line[]
  format: (value: number) => string
}

const height = 168

/** Lines over time. Screen readers get the last values as a text. */
export function Chart({ title, times, lines, format }: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const chart = useRef<UPlot | undefined>(undefined)
  const colours = `${theme.value} ${systemIsDark.value}`
  useEffect(() => {
    const element = place.current
    if (element === null) return
    const style = getComputedStyle(element)
    // A canvas has no `light-dark`: the browser resolves it on an element.
    const colourOf = (name: string): string => {
      element.style.color = `var(${name})`
      const { color } = getComputedStyle(element)
      element.style.color = ''
      return color
    }
    const [dim, line] = [colourOf('--dim'), colourOf('--line')]
    const axis = {
      stroke: dim,
      grid: { stroke: line, width: 1 },
      ticks: { show: false },
      font: `12px ${style.fontFamily}`,
    }
    const made = new UPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        cursor: { y: false, points: { size: 7 } },
        scales: { y: { range: (_, __, highest) => [0, Math.max(1, highest * 1.1)] } },
        axes: [
          { ...axis, size: 32, space: 64, values: (_, at) => at.map((time) => clock.format(time * 1000)) },
          { ...axis, size: 56, space: 32, incrs, values: (_, at) => at.map((value) => format(value)) },
        ],
        series: [
          {},
          ...lines.map(({ label, colour }) => ({
            label,
            stroke: colourOf(colour),
            width: 1.75,
            spanGaps: true,
            points: { size: 5, fill: colourOf(colour), filter: alone },
          })),
        ],
      },
      [[], ...lines.map(() => [])],
      element,
    )
    chart.current = made
    const resize = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }))
    resize.observe(element)
    return () => {
      resize.disconnect()
      made.destroy()
    }
  }, [colours])
  useEffect(() => {
    chart.current?.setData([[...times], ...lines.map(({ values }) => [...values])])
  })
  const last = lines.map(({ label, values }) => `${label} ${format(values.at(-1) ?? 0)}`).join(', ')
  return (
    <figure class="chart card">
      <figcaption>
        <h3>{title}</h3>
        <ul class="chart-legend small dim">
          {lines.map(({ label, colour }) => (
            <li key={label}>
              <span style={{ background: `var(${colour})` }} />
              {label}
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={place} class="plot" role="img" aria-label={`${title}, in the last minute: ${last}`} />
    </figure>
  )
}

/** Steps of the axis that are whole, as what is drawn is. */
const incrs = [1, 2, 5]
  .flatMap((step) => [0, 1, 2, 3, 4, 5, 6, 7, 8].map((power) => step * 10 ** power))
  .toSorted((a, b) => a - b)

/** A value without neighbours has no line, so it is a point. */
const alone = ({ data }: UPlot, line: number): number[] => {
  const values = data[line] ?? []
  const isThere = (at: number): boolean => (values[at] ?? null) !== null
  return [...values.keys()].filter((at) => isThere(at) && !isThere(at - 1) && !isThere(at + 1))
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
