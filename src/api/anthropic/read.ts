import { type ChatMessage, type ContentPart, endsInAnswer } from '../../prompt/index.ts'
import type { RequestContext } from '../answer-route.ts'
import { Pictures } from '../answering/pictures.ts'
import { type AnswerRequest, isolationOf, plainSettings } from '../answering/request.ts'
import { chooseTools } from '../openai/tools.ts'
import type { CountRequest, MessagesRequest } from './schema.ts'

/** Anthropic's request as every dialect tells it. What only is to be counted says nothing of the answer. */
export function readMessagesRequest(
  body: CountRequest & Partial<MessagesRequest>,
  context: RequestContext,
): AnswerRequest {
  const pictures = new Pictures()
  const { tool_choice: choice, thinking } = body
  const { tools, calling } = chooseTools(
    (body.tools ?? []).map(({ name, description, input_schema }, index) => ({
      name,
      description: description ?? undefined,
      parameters: input_schema,
      param: `tools[${index}].input_schema`,
    })),
    {
      mode: choice?.type === 'none' ? 'none' : choice == null || choice.type === 'auto' ? 'auto' : 'forced',
      only: choice?.type === 'tool' ? [choice.name ?? ''] : null,
      parallel: !choice?.disable_parallel_tool_use,
    },
  )
  const messages = [
    ...systemOf(body),
    ...body.messages.flatMap((message, turn) => readTurn(message, `messages[${turn}].content`, pictures)),
  ]
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages,
      tools,
      calling,
      variables: thinking == null ? {} : { enable_thinking: thinking.type !== 'disabled' },
      splitReasoning: true,
      continues: endsInAnswer(messages),
      longest: null,
    },
    attachments: pictures.sources,
    settings: {
      ...plainSettings,
      maxTokens: body.max_tokens ?? null,
      overflow: 'truncate',
      stop: (body.stop_sequences ?? []).filter((text) => text !== ''),
      sampling: { temperature: body.temperature, topP: body.top_p, topK: body.top_k },
      isolation: isolationOf(context.isolationKey),
    },
    params: { prompt: 'messages', grammar: 'tools', longest: 'messages' },
  }
}

function systemOf({ system }: CountRequest): ChatMessage[] {
  const parts = typeof system === 'string' ? [{ text: system }] : (system ?? [])
  const content = parts.filter(({ text }) => text !== '').map(({ text }) => textPart(text))
  return content.length === 0 ? [] : [{ role: 'system', content }]
}

type Turn = CountRequest['messages'][number]
type TurnBlock = Exclude<Turn['content'], string>[number]
type ResultBlock = Exclude<Extract<TurnBlock, { type: 'tool_result' }>['content'], string | null | undefined>[number]

/** A turn of theirs may be several of ours: what tools gave stands in a user's turn with them. */
function readTurn({ role, content }: Turn, param: string, pictures: Pictures): ChatMessage[] {
  if (typeof content === 'string') return [{ role, content: [textPart(content)] }]
  const results: ChatMessage[] = []
  const own: ContentPart[] = []
  const calls: NonNullable<ChatMessage['calls']>[number][] = []
  let reasoning = ''
  for (const [index, block] of content.entries()) {
    const place = `${param}[${index}]`
    if (block.type === 'tool_result') {
      const given =
        typeof block.content === 'string' ? [{ type: 'text' as const, text: block.content }] : (block.content ?? [])
      const parts = given.flatMap((part, at) => readBlock(part, `${place}.content[${at}]`, pictures))
      // Templates know of no results that are errors: the model reads it.
      const content = block.is_error ? [textPart('Error: '), ...parts] : parts
      results.push({ role: 'tool', callId: block.tool_use_id, content })
    } else if (block.type === 'tool_use')
      calls.push({ id: block.id, name: block.name, arguments: JSON.stringify(block.input) })
    else if (block.type === 'thinking') reasoning += block.thinking
    else if (block.type !== 'redacted_thinking') own.push(...readBlock(block, place, pictures))
  }
  if (own.length === 0 && calls.length === 0 && results.length > 0) return results
  return [...results, { role, content: own, calls, ...(reasoning === '' ? {} : { reasoning }) }]
}

function readBlock(block: ResultBlock, param: string, pictures: Pictures): ContentPart[] {
  if (block.type === 'text') return [textPart(block.text)]
  const { source } = block
  const title = block.type === 'document' && block.title ? [textPart(`${block.title}\n`)] : []
  if (source.type === 'text') return [...title, textPart(source.data)]
  return [...title, pictures.add(source.type === 'url' ? source.url : source.data, `${param}.source`)]
}

const textPart = (text: string): ContentPart => ({ kind: 'text', text })
