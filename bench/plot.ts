import { isMet, median, type RowReport } from './figures.ts'

/** Sizes in the units of the SVG. */
const size = { width: 1000, label: 470, bar: 380, line: 26, bars: 12, top: 34 }
/** The largest figure that is drawn, as a multiple of its bar. */
const most = 2.5

/**
 * Draws the results as an SVG: for each row the median as a bar and the range as a thin line, as multiples of the bound
 * of the row, which is the dashed line.
 */
export function drawPlot(models: readonly { title: string; rows: readonly RowReport[] }[]): string {
  const parts: string[] = []
  let y = 0
  for (const { title, rows } of models) {
    parts.push(`<text class="title" x="10" y="${y + 22}">${escaped(title)}</text>`)
    const top = y + size.top
    for (const [index, row] of rows.entries()) parts.push(drawRow(row, top + index * size.line))
    const bottom = top + rows.length * size.line
    parts.push(`<line class="bound" x1="${x(1)}" x2="${x(1)}" y1="${top}" y2="${bottom}"/>`)
    y = bottom + 16
  }
  parts.push(`<text x="${x(1)}" y="${y}" text-anchor="middle">the bar</text>`)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${y + 14}" font-family="sans-serif" font-size="13">
<title>Oriel compared with llama-server: each figure as a multiple of its bar</title>
<style>
text { fill: #222 } .title { font-weight: bold } .met { fill: #2a7f4f } .missed { fill: #c2571a }
.range { stroke: #222; stroke-width: 1.5 } .bound { stroke: #222; stroke-width: 1.5; stroke-dasharray: 4 3 }
</style>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
</svg>
`
}

function drawRow(row: RowReport, top: number): string {
  const { what, bar, samples } = row
  const bound = 'most' in bar ? bar.most : bar.least
  const figures = samples.map(({ figure }) => figure / bound)
  const middle = median(figures)
  const [center, y] = [top + size.line / 2, top + (size.line - size.bars) / 2]
  const figure = `${(middle * bound).toPrecision(3)} (${'most' in bar ? '≤' : '≥'} ${bound})`
  return [
    `<text x="${size.label - 10}" y="${center + 4}" text-anchor="end">${escaped(what)}</text>`,
    `<rect class="${isMet(row) ? 'met' : 'missed'}" x="${x(0)}" y="${y}" width="${x(middle) - x(0)}" height="${size.bars}"/>`,
    `<line class="range" x1="${x(Math.min(...figures))}" x2="${x(Math.max(...figures))}" y1="${center}" y2="${center}"/>`,
    `<text x="${size.label + size.bar + 10}" y="${center + 4}">${figure}</text>`,
  ].join('')
}

const x = (value: number): number => Math.round(size.label + (Math.min(value, most) / most) * size.bar)

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
