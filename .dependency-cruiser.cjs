// The rooms of docs/architecture.md: each may import only the rooms below it, and the ground (errors.ts, log.ts, children/).
const ground = ['children']
const below = {
  children: [],
  accounts: [],
  telemetry: [],
  native: [],
  media: [],
  gguf: [],
  models: ['gguf'],
  language: ['native'],
  encoders: ['native', 'gguf'],
  prompt: [],
  engine: ['language', 'encoders', 'native'],
  deployments: ['engine', 'prompt', 'media', 'models'],
  upstreams: ['deployments', 'media', 'prompt'],
  tuning: ['deployments', 'engine', 'models', 'media', 'prompt', 'language', 'encoders', 'gguf', 'native'],
  machine: ['deployments', 'models', 'encoders'],
  api: ['accounts', 'telemetry', 'machine', 'tuning', 'deployments'],
  app: ['api', 'accounts', 'machine', 'upstreams', 'tuning', 'deployments', 'media', 'models', 'engine', 'encoders'],
  cli: ['app', 'accounts', 'machine', 'upstreams', 'tuning', 'deployments', 'models', 'engine', 'encoders'],
}

module.exports = {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    ...Object.entries(below).map(([room, allowed]) => ({
      name: `${room}-imports-only-below`,
      severity: 'error',
      from: { path: `^src/${room}/` },
      to: { path: '^src/[^/]+/', pathNot: `^src/(${[room, ...ground, ...allowed].join('|')})/` },
    })),
    {
      name: 'rooms-import-through-the-door',
      severity: 'error',
      from: { path: '^src/([^/]+)/' },
      to: { path: '^src/[^/]+/', pathNot: ['^src/$1/', '^src/[^/]+/index\\.ts$'] },
    },
    {
      name: 'ground-imports-through-the-door',
      severity: 'error',
      from: { path: '^src/[^/]+$' },
      to: { path: '^src/[^/]+/', pathNot: '^src/(app/|[^/]+/index\\.ts$)' },
    },
    {
      name: 'ground-imports-no-room',
      severity: 'error',
      from: { path: '^src/[^/]+\\.ts$', pathNot: '^src/app\\.ts$' },
      to: { path: '^src/[^/]+/' },
    },
    {
      name: 'only-native-knows-koffi',
      severity: 'error',
      from: { pathNot: '^src/native/' },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'only-telemetry-knows-opentelemetry',
      severity: 'error',
      from: { pathNot: '^src/telemetry/' },
      to: { path: 'node_modules/@opentelemetry' },
    },
    {
      name: 'no-unlisted',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'unknown', 'undetermined'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
}
