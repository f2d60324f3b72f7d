export { settingsOf } from './settings.ts'
export { type Surveyed, survey } from './survey.ts'
export { createUpstreams } from './upstreams.ts'
