export type { ChatMessage, ContentPart, PromptPart } from './messages.ts'
export { type ChatLayout, compileTemplate } from './template.ts'
