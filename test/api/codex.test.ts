import { afterEach, describe, expect, it } from 'vitest'
import { eventsOf, postJson } from '../support/http.ts'
import { startTurns } from '../support/scripted.ts'

/** What Codex reads of an event. */
interface Event {
  type: string
  item?: Item
  response?: { id: string; usage?: { input_tokens: number; total_tokens: number } }
}
type Item = { type: string; id: string; call_id?: string; [field: string]: unknown }

/** The request that Codex CLI sends for each turn of its loop. */
const request = (input: unknown[]) => ({
  model: 'scripted',
  instructions: 'You are Codex, a coding agent.',
  input,
  tools: [
    {
      type: 'function',
      name: 'exec_command',
      description: 'Runs a command.',
      strict: false,
      parameters: {
        type: 'object',
        properties: { cmd: { type: 'string' }, workdir: { type: 'string' } },
        required: ['cmd'],
        additionalProperties: false,
      },
    },
    {
      type: 'custom',
      name: 'apply_patch',
      description: 'Use this tool to edit files. It takes the patch itself, not JSON.',
      format: { type: 'grammar', syntax: 'lark', definition: 'start: "*** Begin Patch" /(.|\\n)*/ "*** End Patch"' },
    },
    { type: 'web_search', external_web_access: false },
    { type: 'image_generation', output_format: 'png' },
    {
      type: 'namespace',
      name: 'mcp__docs',
      description: 'Tools of the MCP server docs.',
      tools: [{ type: 'function', name: 'search', strict: false, parameters: { type: 'object', properties: {} } }],
    },
    { type: 'local_shell' },
  ],
  tool_choice: 'auto',
  parallel_tool_calls: true,
  reasoning: { effort: 'medium', summary: 'auto' },
  store: false,
  stream: true,
  include: ['reasoning.encrypted_content'],
  prompt_cache_key: '0195f0c0-0000-7000-8000-000000000000',
  text: { verbosity: 'low' },
  client_metadata: { session_id: 'a' },
})

const said = (role: string, text: string) => ({
  type: 'message',
  role,
  content: [{ type: role === 'assistant' ? 'output_text' : 'input_text', text }],
})

describe('the loop of Codex CLI', () => {
  let close = async (): Promise<void> => {}
  afterEach(() => close())

  it('runs a command, applies a patch, asks an MCP server, and ends with a message', async () => {
    const call = (name: string, args: object) => `<tool_call>${JSON.stringify({ name, arguments: args })}</tool_call>`
    const patch = '*** Begin Patch\n*** Add File: a.txt\n+hello\n*** End Patch'
    const server = await startTurns([
      `<think>I look first.</think>${call('exec_command', { cmd: 'ls' })}`,
      `I write it.${call('apply_patch', { input: patch })}`,
      call('mcp__docs__search', {}),
      'Done.',
    ])
    close = server.close
    const outputs: Record<string, string> = { function_call: 'README.md', custom_tool_call: 'Success.' }
    const history: unknown[] = [said('developer', 'The sandbox is read-only.'), said('user', 'Add a.txt')]
    const made: Item[] = []
    for (let turn = 0; turn < 4; turn++) {
      const answer = await postJson(`${server.url}/v1/responses`, request(history))
      expect(answer.status).toBe(200)
      expect(answer.headers.get('x-oriel-ignored-parameters')).toContain('tools[2], tools[3], tools[5]')
      const events = eventsOf<Event>(await answer.text())
      expect(events[0]?.type).toBe('response.created')
      expect(events.at(-1)).toMatchObject({ type: 'response.completed', response: { usage: {} } })
      for (const { type, item } of events) {
        if (type !== 'response.output_item.done' || item === undefined) continue
        made.push(item)
        // Codex leaves ids and the text of thoughts out of what it sends back.
        const { id: _, status: __, ...rest } = item
        history.push(item.type === 'reasoning' ? { ...rest, content: undefined } : rest)
        const output = outputs[item.type]
        if (output !== undefined) history.push({ type: `${item.type}_output`, call_id: item.call_id, output })
      }
    }
    expect(made).toMatchObject([
      { type: 'reasoning', content: [{ text: 'I look first.' }], encrypted_content: expect.any(String) },
      { type: 'function_call', name: 'exec_command', arguments: '{"cmd":"ls"}' },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I write it.' }] },
      { type: 'custom_tool_call', name: 'apply_patch', input: patch },
      { type: 'function_call', name: 'search', namespace: 'mcp__docs', arguments: '{}' },
      { type: 'message', content: [{ text: 'Done.' }] },
    ])
    const last = server.prompts.at(-1) ?? ''
    for (const part of [
      'You are Codex',
      'read-only',
      'Add a.txt',
      '"cmd":"ls"',
      'README.md',
      'a.txt\\n+hello',
      'Success.',
    ])
      expect(last).toContain(part)
    expect(last).toContain('"name":"mcp__docs__search"')
  })

  it('compacts its history by asking for a summary without tools', async () => {
    const server = await startTurns(['A summary.'])
    close = server.close
    const answer = await postJson(`${server.url}/v1/responses`, {
      ...request([said('user', 'Add a.txt'), said('assistant', 'Done.'), said('user', 'Summarize the conversation.')]),
      tools: [],
    })
    const events = eventsOf<Event>(await answer.text())
    expect(events.find(({ type }) => type === 'response.output_item.done')?.item).toMatchObject({ type: 'message' })
  })
})
