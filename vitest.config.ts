import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vitest/config'

const all = 'test/**/*.test.ts'
/** Installs the package in empty folders. */
const installed = 'test/package/*.test.ts'
/** Tests that drive a browser: Debian's Chromium, or the one of `CHROMIUM`. */
const browser = 'test/browser/*.test.ts'
/** Tests that start an engine, a server, decoder processes or the CLI, or that compute whole encoders. */
const engine = [
  'test/{api,cli,pocket}/**/*.test.ts',
  'test/accounts/{accounts,cut-off,limits,processes}.test.ts',
  'test/docs/{accounts,api,tuning,library,observability,recipes}.test.ts',
  'test/deployments/{audio,configured,killed,loading,video}.test.ts',
  'test/deploy/{image,proxies,rolling}.test.ts',
  'test/engine/{calibration,crowd,engine,fatal-adapter,kept-process,load,stateful}.test.ts',
  'test/media/{ask,bombs,chains,decoder-process,downloads,fallbacks,formats,fuzz,http,load,pages,pool,recordings,resolve,seen,ssrf}.test.ts',
  'test/native/full-gpu.test.ts',
  'test/gguf/header.test.ts',
  'test/language/json-schema.test.ts',
  'test/models/{catalogue,pull,url}.test.ts',
  'test/tuning/datasets/{datasets,packer}.test.ts',
  'test/tuning/prepare/{as-served,prepare}.test.ts',
  'test/tuning/{jobs,pytorch,trainer-process,demonstration/learns}.test.ts',
  'test/upstreams/{attachments,cluster}.test.ts',
  'test/tuning/merge.test.ts',
  'test/encoders/{adapter,conformance,families,hearing,idefics3,pixtral,qwen,trial,video}.test.ts',
]

const url = (name: string): string => new URL(name, import.meta.url).href

/**
 * The processes and threads of tests run what `bin/oriel.js` runs, the compiled `dist/`. They start in a third of the time
 * that sources take, and these tests start hundreds.
 */
const compiled: Plugin = {
  name: 'compiled',
  enforce: 'pre',
  transform(code, id) {
    if (id !== fileURLToPath(url('src/places.ts'))) return undefined
    return code.replace('import.meta.url', JSON.stringify(url('dist/places.js')))
  },
}

// Tests that generate their inputs try a few of them. With TEST_LONG=1, as in .ci/run, they try all.

export default defineConfig({
  test: {
    // bin/oriel.js runs what is compiled: it is compiled once, before the first test starts it.
    globalSetup: './scripts/build.js',
    setupFiles: ['./test/support/native-log.ts', './test/support/data-folder.ts'],
    // Only a test that hangs takes this long, however busy the machine is.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Two files at once: every server of a test has an engine process of its own, and CI has two cores.
    maxWorkers: 2,
    pool: 'forks',
    // The tests must not find the models of the person who runs them.
    env: { HF_HOME: '/nonexistent', ORIEL_MODELS_DIR: '/nonexistent' },
    projects: [
      { extends: true, test: { name: 'unit', include: [all], exclude: [...engine, installed, browser] } },
      { extends: true, plugins: [compiled], test: { name: 'engine', include: engine } },
      { extends: true, plugins: [compiled], test: { name: 'browser', include: [browser], maxWorkers: 1 } },
      { extends: true, test: { name: 'package', include: [installed], testTimeout: 300_000, hookTimeout: 300_000 } },
    ],
  },
})
