import type { ResourceRow, Store } from './store/schema.ts'

export type Resource = Readonly<ResourceRow>

/** What other rooms keep by name in the database. Each change is one statement: it is whole or not at all. */
export interface Resources {
  /** By account and id. */
  list(kind: string): Promise<Resource[]>
  /** @returns whether there was none of this name. Its revision is 1 */
  insert(resource: Omit<Resource, 'revision'>): Promise<boolean>
  /** @param resource with the revision that it was read with. @returns whether it still had it; it has the next one now */
  replace(resource: Resource): Promise<boolean>
  remove(name: Pick<Resource, 'kind' | 'account' | 'id'>): Promise<void>
}

export const createResources = (db: Store): Resources => ({
  list: (kind) =>
    db.selectFrom('resources').selectAll().where('kind', '=', kind).orderBy('account').orderBy('id').execute(),

  async insert({ kind, account, id, body }) {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('resources')
      .values({ kind, account, id, revision: 1, body })
      .onConflict((conflict) => conflict.columns(['kind', 'account', 'id']).doNothing())
      .executeTakeFirstOrThrow()
    return numInsertedOrUpdatedRows === 1n
  },

  async replace({ kind, account, id, revision, body }) {
    const { numUpdatedRows } = await db
      .updateTable('resources')
      .set({ revision: revision + 1, body })
      .where('kind', '=', kind)
      .where('account', '=', account)
      .where('id', '=', id)
      .where('revision', '=', revision)
      .executeTakeFirstOrThrow()
    return numUpdatedRows === 1n
  },

  async remove({ kind, account, id }) {
    await db
      .deleteFrom('resources')
      .where('kind', '=', kind)
      .where('account', '=', account)
      .where('id', '=', id)
      .execute()
  },
})
