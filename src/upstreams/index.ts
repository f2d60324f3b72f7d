export { settingsOf, type UpstreamApi, type UpstreamModel, type UpstreamSettings } from './settings.ts'
