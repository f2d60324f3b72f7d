import { Worker } from 'node:worker_threads'

/**
 * Starts a worker thread from a TypeScript file. A thread does not take over its parent's module hooks, so it registers
 * its own before it imports the file.
 */
export function startThread(file: URL, workerData: unknown): Worker {
  const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'))
  const boot = `import { register } from ${tsx}; register(); await import(${JSON.stringify(file.href)})`
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(boot)}`), { workerData })
}
