export { settingsOf } from './settings.ts'
export { type Surveyed, survey } from './survey.ts'
export { createUpstreams, type Upstreams } from './upstreams.ts'
