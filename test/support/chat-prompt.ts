import type { ChatPrompt } from '../../src/deployments/index.ts'

/** A message, with the numbers of its attachments. */
export type Turn = [role: string, text: string, ...attachments: number[]]

/** A chat about images, as most clients ask it. */
export const chatPrompt = (...turns: readonly Turn[]): ChatPrompt => ({
  kind: 'chat',
  messages: turns.map(([role, text, ...attachments]) => ({
    role,
    content: [{ kind: 'text', text }, ...attachments.map((attachment) => ({ kind: 'image' as const, attachment }))],
  })),
  tools: [],
  calling: { mode: 'auto', parallel: true },
  variables: {},
  splitReasoning: true,
  continues: false,
  longest: null,
})
