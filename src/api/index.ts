export { startChat } from './chat.ts'
export { chatRequest } from './chat-schema.ts'
export { createServer } from './server.ts'
export { parseBody } from './validation.ts'
