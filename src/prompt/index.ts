export type { ChatMessage, ContentPart } from './messages.ts'
export { type ChatLayout, compileTemplate } from './template.ts'
