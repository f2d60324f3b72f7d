/** What requests have in common that an engine may have computed already. Requests with equal ones go to one target. */
export type Affinity = readonly string[]
