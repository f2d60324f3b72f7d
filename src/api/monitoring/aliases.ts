import type { Metric } from '../../telemetry/index.ts'

/** Another name for a metric: the same numbers, not counted again. */
interface Alias {
  readonly name: string
  readonly of: string
  /** Only the series with these labels, which the alias does not have. */
  readonly where?: Readonly<Record<string, string>>
  /** Labels that the alias has in addition. */
  readonly with?: Readonly<Record<string, string>>
}

interface Aliases {
  readonly all: readonly Alias[]
  /** The names of labels that have others there. */
  readonly labels: Readonly<Record<string, string>>
  /** Labels that all of them have. */
  readonly with: Readonly<Record<string, string>>
}

/** Names by which dashboards and autoscalers read vLLM, those of its older versions too. */
export const vllmAliases: Aliases = {
  labels: {
    ...{ model: 'model_name', reason: 'finished_reason' },
    ...{ running: 'running_lora_adapters', waiting: 'waiting_lora_adapters', most: 'max_lora' },
  },
  // Of the engines behind one server. Here each model has one.
  with: { engine: '0' },
  all: [
    { name: 'vllm:num_requests_running', of: 'oriel_engine_running_sequences' },
    { name: 'vllm:num_requests_waiting', of: 'oriel_engine_waiting_requests' },
    { name: 'vllm:kv_cache_usage_perc', of: 'oriel_engine_kv_use_ratio' },
    { name: 'vllm:gpu_cache_usage_perc', of: 'oriel_engine_kv_use_ratio' },
    { name: 'vllm:num_preemptions_total', of: 'oriel_engine_preemptions_total' },
    { name: 'vllm:prompt_tokens_total', of: 'oriel_prompt_tokens_total' },
    { name: 'vllm:generation_tokens_total', of: 'oriel_generated_tokens_total' },
    { name: 'vllm:prefix_cache_queries_total', of: 'oriel_prompt_tokens_total' },
    { name: 'vllm:prefix_cache_hits_total', of: 'oriel_cached_prompt_tokens_total' },
    { name: 'vllm:request_success_total', of: 'oriel_choices_total' },
    { name: 'vllm:time_to_first_token_seconds', of: 'oriel_time_to_first_token_seconds' },
    { name: 'vllm:inter_token_latency_seconds', of: 'oriel_inter_token_latency_seconds' },
    { name: 'vllm:time_per_output_token_seconds', of: 'oriel_inter_token_latency_seconds' },
    { name: 'vllm:request_time_per_output_token_seconds', of: 'oriel_time_per_output_token_seconds' },
    { name: 'vllm:e2e_request_latency_seconds', of: 'oriel_answer_seconds' },
    { name: 'vllm:request_queue_time_seconds', of: 'oriel_phase_seconds', where: { phase: 'queue' } },
    { name: 'vllm:request_prefill_time_seconds', of: 'oriel_phase_seconds', where: { phase: 'prefill' } },
    { name: 'vllm:request_decode_time_seconds', of: 'oriel_phase_seconds', where: { phase: 'generation' } },
    { name: 'vllm:request_prompt_tokens', of: 'oriel_answer_prompt_tokens' },
    { name: 'vllm:request_generation_tokens', of: 'oriel_answer_generated_tokens' },
    { name: 'vllm:lora_requests_info', of: 'oriel_adapters_asked_seconds' },
  ],
}

/** Names of the semantic conventions of OpenTelemetry for servers of models. */
export const genAiAliases: Aliases = {
  labels: { model: 'gen_ai.request.model', operation: 'gen_ai.operation.name' },
  with: { 'gen_ai.provider.name': 'oriel' },
  all: [
    { name: 'gen_ai.server.request.duration', of: 'oriel_answer_seconds' },
    { name: 'gen_ai.server.time_to_first_token', of: 'oriel_time_to_first_token_seconds' },
    { name: 'gen_ai.server.time_per_output_token', of: 'oriel_time_per_output_token_seconds' },
    { name: 'gen_ai.client.token.usage', of: 'oriel_answer_prompt_tokens', with: { 'gen_ai.token.type': 'input' } },
    { name: 'gen_ai.client.token.usage', of: 'oriel_answer_generated_tokens', with: { 'gen_ai.token.type': 'output' } },
  ],
}

/** The metrics that have other names, by those names. */
export function aliasesOf(metrics: readonly Metric[], aliases: Aliases): Metric[] {
  const sources = new Map(metrics.map((metric) => [metric.name, metric]))
  const found = new Map<string, Metric>()
  for (const alias of aliases.all) {
    const source = sources.get(alias.of)
    if (source === undefined) throw new Error(`no metric is called ${alias.of}`)
    const values = [...(found.get(alias.name)?.values ?? []), ...valuesOf(alias, source, aliases)]
    found.set(alias.name, { ...source, name: alias.name, help: `${source.help} (${source.name})`, values })
  }
  return [...found.values()]
}

const valuesOf = ({ name, of, where = {}, with: added }: Alias, { values }: Metric, aliases: Aliases) =>
  values
    .filter(({ labels }) => Object.keys(where).every((label) => labels[label] === where[label]))
    .map(({ metricName, labels, value }) => ({
      metricName: metricName?.replace(of, name),
      labels: renamed(labels, where, aliases.labels, { ...aliases.with, ...added }),
      value,
    }))

type Labels = Metric['values'][number]['labels']

function renamed(labels: Labels, without: Labels, names: Readonly<Record<string, string>>, more: Labels): Labels {
  const found: Record<string, string | number | undefined> = {}
  for (const label in labels) if (!(label in without)) found[names[label] ?? label] = labels[label]
  return Object.assign(found, more)
}
