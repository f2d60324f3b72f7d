import { type GraphBuilder, layerNorm, linear, type Runs } from '../../graph/builder.ts'

interface QFormerKind {
  heads: number
  /** Queries of a window, and its rows. */
  runs: Runs
  epsilon: number
  activation: 'gelu' | 'geluErf'
}

/**
 * A layer of a Q-Former: in each window the queries attend to each other, and then to the window's rows.
 * @param queries `[windows * runs.q, width]`
 * @param seen `[windows * runs.k, any width]`
 */
export function qFormerLayer<N>(
  graph: GraphBuilder<N>,
  queries: N,
  seen: N,
  name: string,
  { heads, runs, epsilon, activation }: QFormerKind,
): N {
  const attended = (of: N, to: N, kind: string, rows: number): N => {
    const part = (end: string) => `${name}.${kind}_${end}`
    const mixed = graph.attentionInRuns(
      linear(graph, of, part('q')),
      linear(graph, to, part('k')),
      linear(graph, to, part('v')),
      heads,
      { q: runs.q, k: rows },
    )
    return layerNorm(graph, graph.add(linear(graph, mixed, part('out')), of), part('norm'), epsilon)
  }
  const talked = attended(queries, queries, 'self_attn', runs.q)
  const looked = attended(talked, seen, 'cross_attn', runs.k)
  const inner = linear(graph, graph[activation](linear(graph, looked, `${name}.ffn_up`)), `${name}.ffn_down`)
  return layerNorm(graph, graph.add(inner, looked), `${name}.ffn_norm`, epsilon)
}
