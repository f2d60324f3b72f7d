import type { ComponentChildren } from 'preact'

export interface Column<Row> {
  readonly name: string
  /** Classes of its cells: `number` stands at the right, `whole` takes a line of its own on a phone. */
  readonly kind?: string
  /** Whether its cells say by themselves what they are: a phone shows no name beside them. */
  readonly isPlain?: boolean
  /** Whether its head is for screen readers only. */
  readonly isHidden?: boolean
  readonly cell: (row: Row) => ComponentChildren
}

interface TableProps<Row> {
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  keyOf: (row: Row) => string
  rowClass?: (row: Row) => string
  /** Whether a phone shows four figures in a line instead of two. */
  isDense?: boolean
}

/** Rows of facts. Where there is no room for its columns, each row is a card of its own. */
export const Table = <Row,>({ columns, rows, keyOf, rowClass, isDense = false }: TableProps<Row>) => (
  <div class="scroll card">
    <table class={isDense ? 'table stacks dense' : 'table stacks'}>
      <thead>
        <tr>
          {columns.map(({ name, kind = '', isHidden = false }) => (
            <th key={name} scope="col" class={kind}>
              {isHidden ? <span class="hidden-text">{name}</span> : name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)} class={rowClass?.(row) ?? ''}>
            {columns.map(({ name, kind = '', isPlain = false, cell }) => (
              <td key={name} class={kind} {...(isPlain ? {} : { 'data-name': name })}>
                {cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
)
