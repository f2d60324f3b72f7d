/** Drawn for these pages, on a grid of 20 by 20 with lines of 1.5. */
const shapes = {
  ask: 'M3 4.5h14v9H9l-4 3v-3H3z',
  models: 'M3.5 3.5h5v5h-5zM11.5 3.5h5v5h-5zM3.5 11.5h5v5h-5zM11.5 11.5h5v5h-5z',
  tune: 'M3 4v12h14M6 6c2.5 0 2 7 5 7s3-1 6-1',
  activity: 'M2.5 11h3l2.5-7 4 12 2.5-5h3',
  key: 'M12.5 7.5a4 4 0 1 1-4-4 4 4 0 0 1 4 4ZM11.3 10.3 17 16M14 13l1.8-1.8',
  book: 'M4 3.5h9.5a2 2 0 0 1 2 2v11H6a2 2 0 0 1-2-2zM4 14.5a2 2 0 0 1 2-2h9.5',
  add: 'M10 4v12M4 10h12',
  close: 'm5 5 10 10M15 5 5 15',
  send: 'M10 16V4M5 9l5-5 5 5',
  stop: 'M5.5 5.5h9v9h-9z',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  again: 'M16 10a6 6 0 1 1-1.8-4.3M16 3v4h-4',
  edit: 'M4 16l.7-3.3L13.5 4 16 6.5l-8.8 8.8z',
  image: 'M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M13 8h.01',
  camera: 'M3 6h3l1.5-2h5L14 6h3v10H3zM13 11a3 3 0 1 1-3-3 3 3 0 0 1 3 3Z',
  eye: 'M2 10s3-5.5 8-5.5S18 10 18 10s-3 5.5-8 5.5S2 10 2 10ZM12.2 10A2.2 2.2 0 1 1 10 7.8a2.2 2.2 0 0 1 2.2 2.2Z',
  settings: 'M3 6h8M15 6h2M3 14h2M9 14h8M13 8a2 2 0 1 0-2-2 2 2 0 0 0 2 2ZM7 16a2 2 0 1 0-2-2 2 2 0 0 0 2 2Z',
  code: 'm7 6-4 4 4 4M13 6l4 4-4 4',
  more: 'M4.5 10h.01M10 10h.01M15.5 10h.01',
  down: 'm5 8 5 5 5-5',
  theme: 'M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14',
  download: 'M10 3v10M6 9l4 4 4-4M4 17h12',
  bin: 'M4 5.5h12M8 5.5V3.5h4v2M5.5 5.5l.7 11h7.6l.7-11',
  left: 'm12 5-5 5 5 5',
  right: 'm8 5 5 5-5 5',
  columns: 'M3 4h14v12H3zM10 4v12',
  check: 'm4 10.5 4 4 8-9',
  list: 'M3 4h14v12H3zM8 4v12',
  search: 'M14 8.5a5.5 5.5 0 1 1-11 0 5.5 5.5 0 0 1 11 0ZM12.5 12.5 17 17',
  upload: 'M10 13V3M6 7l4-4 4 4M4 17h12',
  video: 'M3 5h10v10H3zM13 9l4-2.5v7L13 11',
  sound: 'M4 8v4M7 5.5v9M10 3v14M13 6.5v7M16 8.5v3',
  page: 'M5 2.5h6.5L15 6v11.5H5zM11.5 2.5V6H15',
} as const

export type IconName = keyof typeof shapes

/** An icon beside a text that says the same; alone it needs a label on its button. */
export const Icon = ({ name }: { name: IconName }) => (
  <svg
    viewBox="0 0 20 20"
    width="20"
    height="20"
    fill="none"
    stroke="currentColor"
    stroke-width="1.5"
    stroke-linejoin="round"
    stroke-linecap="round"
    aria-hidden="true"
  >
    <path d={shapes[name]} />
  </svg>
)
