import type { Endpoint } from '../dialects/dialect.ts'

/** What endpoints for whoever runs the server have in common. */
export const place = { tag: 'Administration', scope: 'admin' } as const satisfies Partial<Endpoint>
