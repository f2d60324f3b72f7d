// Draws the pictures of docs/recipes into examples/: `npm run pictures`. They are ours, so anybody may use them. Text is
// drawn with the fonts of this machine, so another one draws slightly different files.
import { writeFile } from 'node:fs/promises'
import sharp from 'sharp'

const folder = new URL('../examples/', import.meta.url)

/** @param drawing SVG without its root. @param scale pixels of the picture for each of the drawing */
const drawn = (width, height, drawing, { font = 'DejaVu Sans', scale = 1 } = {}) =>
  sharp(
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width * scale}" height="${height * scale}" viewBox="0 0 ${width} ${height}" font-family="${font}">${drawing}</svg>`,
    ),
  )
    .flatten({ background: 'white' })
    .png({ palette: true, colours: 32, compressionLevel: 9, effort: 10 })
    .toBuffer()

const text = (x, y, size, words, more = '') => `<text x="${x}" y="${y}" font-size="${size}" ${more}>${words}</text>`
const right = 'text-anchor="end"'
const middle = 'text-anchor="middle"'

function receipt() {
  const items = [
    ['2 x Espresso', '5.00'],
    ['1 x Croissant', '2.80'],
    ['1 x Orange juice', '4.20'],
  ]
  const rows = items.map(
    ([name, price], at) => text(30, 220 + at * 34, 20, name) + text(390, 220 + at * 34, 20, price, right),
  )
  return drawn(
    420,
    520,
    `<rect width="420" height="520" fill="#fbfaf6"/><g fill="#222">
    ${text(210, 60, 28, 'CAFE ORIEL', `${middle} font-weight="bold"`)}
    ${text(210, 94, 17, '12 Window Street, Bath', middle)}
    ${text(30, 150, 18, '2026-03-14 09:41')}${text(390, 150, 18, 'No. 1042', right)}
    <path d="M30 175h360M30 315h360" stroke="#222" stroke-dasharray="6 5"/>
    ${rows.join('')}
    ${text(30, 355, 24, 'TOTAL GBP', 'font-weight="bold"')}${text(390, 355, 24, '12.00', `${right} font-weight="bold"`)}
    ${text(30, 395, 18, 'Includes VAT 20 %')}${text(390, 395, 18, '2.00', right)}
    ${text(30, 429, 18, 'Paid by card')}${text(390, 429, 18, '12.00', right)}
    ${text(210, 485, 18, 'Thank you!', middle)}</g>`,
    { font: 'DejaVu Sans Mono' },
  )
}

function chart() {
  const months = { Jan: 120, Feb: 95, Mar: 160, Apr: 210, May: 185 }
  const y = (value) => 330 - value
  const lines = [0, 50, 100, 150, 200, 250].map(
    (value) =>
      `<path d="M70 ${y(value)}h530" stroke="#ddd"/>${text(60, y(value) + 6, 16, value, `${right} fill="#555"`)}`,
  )
  const bars = Object.entries(months).map(([month, value], at) => {
    const x = 100 + at * 100
    return `<rect x="${x}" y="${y(value)}" width="60" height="${value}" fill="#2f6fde"/>
      ${text(x + 30, y(value) - 8, 16, value, middle)}${text(x + 30, 356, 18, month, middle)}`
  })
  return drawn(
    640,
    400,
    text(320, 44, 24, 'Bicycles sold in 2026', `${middle} font-weight="bold"`) + lines.join('') + bars.join(''),
  )
}

function screenshot() {
  const field = (y, label, value) => `${text(80, y, 18, label)}
    <rect x="80" y="${y + 12}" width="480" height="46" rx="6" fill="white" stroke="#b8bfca"/>${text(96, y + 42, 18, value, 'fill="#555"')}`
  return drawn(
    640,
    480,
    `<rect width="640" height="480" fill="#f2f4f8"/><rect width="640" height="56" fill="#1d2a44"/>
    ${text(24, 36, 20, 'Account settings', 'fill="white"')}${text(616, 36, 16, 'Help', `${right} fill="white"`)}
    ${field(110, 'Name', 'Ada Lovelace')}${field(210, 'E-mail', 'ada@example.com')}
    <rect x="80" y="300" width="24" height="24" rx="4" fill="white" stroke="#b8bfca"/>${text(116, 319, 18, 'Send me a monthly summary')}
    <rect x="80" y="370" width="140" height="52" rx="6" fill="#2f6fde"/>${text(150, 403, 18, 'Save', `${middle} fill="white"`)}
    <rect x="240" y="370" width="140" height="52" rx="6" fill="white" stroke="#b8bfca"/>${text(310, 403, 18, 'Cancel', middle)}`,
    { scale: 2 },
  )
}

/** @param more what is drawn on the mug */
const mug = (colour, more) =>
  drawn(
    400,
    400,
    `<rect width="400" height="400" fill="#f6f2ea"/><ellipse cx="190" cy="330" rx="125" ry="18" fill="#ddd6c8"/>
    <path d="M285 150h28a40 40 0 0 1 40 40v40a40 40 0 0 1-40 40h-28" fill="none" stroke="${colour}" stroke-width="24"/>
    <path d="M90 110h200v190a30 30 0 0 1-30 30h-140a30 30 0 0 1-30-30z" fill="${colour}"/>
    <ellipse cx="190" cy="110" rx="100" ry="18" fill="#4a3526" stroke="${colour}" stroke-width="8"/>${more}`,
  )

/** Two pages of A4 with lines of text. @param pages of each line: x, y, size and words */
function pdf(pages) {
  const contents = pages.map((lines) =>
    lines
      .map(([x, y, size, words]) => `BT /F1 ${size} Tf ${x} ${y} Td (${words.replace(/[()\\]/g, '\\$&')}) Tj ET`)
      .join('\n'),
  )
  const kids = pages.map((_, at) => `${4 + at * 2} 0 R`).join(' ')
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`,
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>',
    ...contents.flatMap((content, at) => [
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> /Contents ${5 + at * 2} 0 R >>`,
      `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
    ]),
  ]
  let file = '%PDF-1.4\n'
  const offsets = objects.map((object, at) => {
    const offset = file.length
    file += `${at + 1} 0 obj\n${object}\nendobj\n`
    return `${String(offset).padStart(10, '0')} 00000 n \n`
  })
  return `${file}xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${offsets.join('')}trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${file.length}\n%%EOF\n`
}

const invoice = [
  [
    [60, 770, 26, 'Invoice 2026-118'],
    [60, 730, 13, 'Bay Window Ltd, 12 Window Street, Bath'],
    [60, 710, 13, 'To: Lantern Press, 3 Quay Road, Bristol'],
    [60, 690, 13, 'Date: 2 March 2026'],
    [60, 630, 14, 'Repair of two oriel windows'],
    [460, 630, 14, '1,450.00'],
    [60, 605, 14, 'New glass, 3.2 square metres'],
    [460, 605, 14, '416.00'],
    [60, 580, 14, 'Scaffold for four days'],
    [460, 580, 14, '380.00'],
    [60, 540, 14, 'Net'],
    [460, 540, 14, '2,246.00'],
    [60, 515, 14, 'VAT 20 %'],
    [460, 515, 14, '449.20'],
    [60, 480, 18, 'Total GBP'],
    [460, 480, 18, '2,695.20'],
    [60, 60, 11, 'Page 1 of 2'],
  ],
  [
    [60, 770, 20, 'Terms'],
    [60, 730, 13, 'Payment is due on 1 April 2026, by bank transfer.'],
    [60, 708, 13, 'After that date, interest of 4 % a year is added.'],
    [60, 686, 13, 'The work has a guarantee of ten years. Broken glass is not covered.'],
    [60, 60, 11, 'Page 2 of 2'],
  ],
]

const files = {
  'receipt.png': await receipt(),
  'chart.png': await chart(),
  'screenshot.png': await screenshot(),
  'mug-sold.png': await mug('#2f6fde', '<circle cx="190" cy="220" r="42" fill="white"/>'),
  'mug-returned.png': await mug(
    '#2f6fde',
    '<circle cx="190" cy="220" r="42" fill="white"/><path d="M120 90l22 52 16-20 14 34 10-66z" fill="#f6f2ea"/>',
  ),
  'invoice.pdf': pdf(invoice),
}
for (const [name, content] of Object.entries(files)) await writeFile(new URL(name, folder), content)
