import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two files at once: every server of a test has an engine process of its own, and CI has two cores.
    maxWorkers: 2,
    pool: 'forks',
    // The models of whoever runs the tests are their own.
    env: { HF_HOME: '/nonexistent', ORIEL_MODELS_DIR: '/nonexistent' },
  },
})
