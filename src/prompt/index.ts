export { type AnswerPiece, AnswerReader, beginsThought, thoughtEnd, thoughtTags } from './answer.ts'
export { forcedCall, formatOrCalls, formatRule, possibleCalls, toolRule } from './call-grammar.ts'
export { callTags } from './call-markup.ts'
export { ChatLayout } from './chat-layout.ts'
export { isRegionToken, type Region, regionsIn } from './grounding.ts'
export { inTime } from './in-time.ts'
export {
  type AttachmentPart,
  type ChatMessage,
  type ContentPart,
  endsInAnswer,
  noArguments,
  type PromptPart,
  type Tool,
} from './messages.ts'
export { type ChatExtras, type ChatFormat, compileTemplate } from './template.ts'
export { type VideoFormat, videoFormatOf } from './video.ts'
