import DOMPurify from 'dompurify'
import { Marked, type Token } from 'marked'
import { memo } from 'preact/compat'
import { useMemo } from 'preact/hooks'
import { announce } from '../../../ui/announce.tsx'
import { copyText } from '../../../ui/copy.tsx'

const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.codePointAt(0)};`)

/** HTML that a model writes is shown as text, and a picture that it links to is a link: nothing is loaded from elsewhere. */
const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    // Below the headings of the page.
    heading({ tokens, depth }) {
      const tag = `h${Math.min(6, depth + 2)}`
      return `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`
    },
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    code: ({ text, lang }) =>
      `<div class="code"><div class="code-bar"><span>${escaped(lang ?? '')}</span>` +
      `<button type="button" class="button quiet copy-code">Copy</button></div>` +
      `<pre tabindex="0"><code>${escaped(text)}</code></pre></div>`,
    table({ header, rows }) {
      const row = (cells: typeof header, tag: string): string =>
        `<tr>${cells
          .map(
            ({ tokens, align }) =>
              `<${tag}${align ? ` class="${align}"` : ''}>${this.parser.parseInline(tokens)}</${tag}>`,
          )
          .join('')}</tr>`
      const body = rows.map((cells) => row(cells, 'td')).join('')
      return `<div class="scroll" tabindex="0"><table class="table"><thead>${row(header, 'th')}</thead><tbody>${body}</tbody></table></div>`
    },
  },
})

DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (node.nodeName !== 'A') return
  node.setAttribute('target', '_blank')
  node.setAttribute('rel', 'noopener noreferrer')
})

const tags = [
  ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'ul', 'ol', 'li', 'blockquote', 'pre', 'code', 'em'],
  ...['strong', 'del', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'div', 'span', 'button'],
]
const attributes = ['href', 'class', 'start', 'type', 'tabindex']

/** Text as a model writes it. Of a text that grows, only the block that grows is made again. */
export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => orNothing(() => marked.lexer(text)), [text])
  if (blocks === undefined) return <p class="prose plain">{text}</p>
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: its buttons are what is used
    // biome-ignore lint/a11y/useKeyWithClickEvents: a browser makes a click of the enter key
    <div class="prose" onClick={copyCode}>
      {blocks.map((token, index) => (
        <Block key={index} token={token} />
      ))}
    </div>
  )
}

/** undefined: its quotes or lists are deeper than can be read. */
function orNothing<Result>(read: () => Result): Result | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

const Block = memo(
  ({ token }: { token: Token }) => {
    const html = DOMPurify.sanitize(orNothing(() => marked.parser([token])) ?? escaped(token.raw), {
      ...{ ALLOWED_TAGS: tags, ALLOWED_ATTR: attributes },
      RETURN_TRUSTED_TYPE: true,
    })
    return <div class="block" dir="auto" dangerouslySetInnerHTML={{ __html: html as unknown as string }} />
  },
  (before, after) => before.token.raw === after.token.raw,
)

async function copyCode(event: Event): Promise<void> {
  const button = (event.target as Element).closest('.copy-code')
  const code = button?.closest('.code')?.querySelector('pre')?.textContent
  if (!button || code === null || code === undefined) return
  button.textContent = await copyText(code).then(
    () => 'Copied',
    () => 'Not allowed',
  )
  announce(`${button.textContent}.`)
  setTimeout(() => {
    button.textContent = 'Copy'
  }, 1500)
}
