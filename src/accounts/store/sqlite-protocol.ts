/** A statement for the thread that has the SQLite file. */
export interface Statement {
  readonly id: number
  readonly sql: string
  readonly parameters: readonly SqlValue[]
}

export type SqlValue = string | number | null

/** What became of a statement. The reply with the id 0 says whether the file could be opened. */
export type Reply =
  | { readonly id: number; readonly rows: readonly unknown[]; readonly changes: number }
  | { readonly id: number; readonly error: { readonly message: string; readonly code: string | undefined } }
