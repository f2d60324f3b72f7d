import type { Kysely, Migration } from 'kysely'

/** The steps to the present schema, in order. A step that was released is never changed: a new one follows it. */
export const migrations: Record<string, Migration> = {
  '2026-11-28-accounts': { up: createAccounts },
  '2026-11-29-resources': { up: createResources },
}

async function createAccounts(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('accounts')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('tier', 'text')
    .addColumn('budget', 'bigint')
    .addColumn('created', 'bigint', (column) => column.notNull())
    .execute()

  await db.schema
    .createTable('keys')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('account', 'text', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull().unique())
    .addColumn('old_hash', 'text', (column) => column.unique())
    .addColumn('old_until', 'bigint')
    .addColumn('prefix', 'text', (column) => column.notNull())
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('models', 'text')
    .addColumn('budget', 'bigint')
    .addColumn('note', 'text', (column) => column.notNull())
    .addColumn('created', 'bigint', (column) => column.notNull())
    .addColumn('expires', 'bigint')
    .addColumn('revoked', 'bigint')
    .execute()
  await db.schema.createIndex('keys_by_account').on('keys').column('account').execute()

  let requests = db.schema
    .createTable('requests')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('time', 'bigint', (column) => column.notNull())
    .addColumn('account', 'text', (column) => column.notNull())
    .addColumn('key', 'text')
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('adapter', 'text')
    .addColumn('endpoint', 'text', (column) => column.notNull())
    .addColumn('dialect', 'text', (column) => column.notNull())
  for (const name of [
    'text_tokens',
    'image_tokens',
    'audio_tokens',
    'video_tokens',
    'images',
    'cached_tokens',
    'completion_tokens',
    'reasoning_tokens',
    'queue_ms',
    'media_ms',
    'encode_ms',
    'prefill_ms',
    'generation_ms',
    'status',
    'cost',
  ])
    requests = requests.addColumn(name, 'bigint', (column) => column.notNull())
  await requests.execute()
  await db.schema.createIndex('requests_by_time').on('requests').column('time').execute()
  await db.schema.createIndex('requests_by_account').on('requests').columns(['account', 'time']).execute()

  await db.schema
    .createTable('spend')
    .addColumn('account', 'text', (column) => column.notNull())
    .addColumn('key', 'text', (column) => column.notNull())
    .addColumn('month', 'integer', (column) => column.notNull())
    .addColumn('cost', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('spend_key', ['account', 'month', 'key'])
    .execute()

  await db.schema
    .createTable('adaptive_limits')
    .addColumn('account', 'text', (column) => column.notNull())
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('factor', 'integer', (column) => column.notNull())
    .addColumn('changed', 'bigint', (column) => column.notNull())
    .addColumn('busy', 'bigint', (column) => column.notNull())
    .addColumn('used', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('adaptive_limits_key', ['account', 'model'])
    .execute()
}

async function createResources(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('resources')
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('account', 'text', (column) => column.notNull())
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addColumn('body', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('resources_key', ['kind', 'account', 'id'])
    .execute()
}
