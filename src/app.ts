export interface Placeholder { version: string }
export { version } from "./version.ts"
