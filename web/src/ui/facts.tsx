import type { ComponentChildren } from 'preact'

/** A name and a value of a list with the class `facts`. */
export const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd class="figure">{children}</dd>
  </div>
)
