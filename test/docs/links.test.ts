import { existsSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { pages, root, textOf } from './pages.ts'

const { scripts }: { scripts: Record<string, string> } = JSON.parse(textOf('package.json'))

/** Code of the pages: links and paths in it are not the page's own. */
const blocks = /^```[\s\S]*?^```/gm

/** Hosts that the examples of a page need, and images and documents that they read. */
const neededBy = (page: string): string[] =>
  [...textOf(page).matchAll(blocks)]
    .flatMap(([block]) => block.split('\n'))
    // Of an upstream: it is somewhere else by its nature.
    .filter((line) => !/\boriel pull\b|^url = |"url": /.test(line))
    .flatMap((line) => [...line.matchAll(/https?:\/\/[\w.-]+|\b[\w./-]+\.(?:png|jpe?g|gif|webp|pdf)\b/gi)])
    .map(([needed]) => needed)

/** Where links to a heading of a page lead, as GitHub makes them of the heading's text. */
const anchorsOf = (page: string): string[] =>
  [
    ...textOf(page)
      .replace(blocks, '')
      .matchAll(/^#+ (.*)$/gm),
  ].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{Letter}\p{Number} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

const linksOf = (page: string): string[] =>
  [
    ...textOf(page)
      .replace(blocks, '')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ].flatMap(([, link = '']) => (/^[a-z]+:/.test(link) ? [] : [link]))

/** Paths of the repository that a page names: `src/app.ts`, `test/encoders/oracle`. */
const pathsOf = (page: string): string[] =>
  [
    ...textOf(page)
      .replace(blocks, '')
      .matchAll(/`((?:src|test|docs|bench|scripts|examples|models|pocket|deploy)\/[\w./-]*)`/g),
  ].map(([, named = '']) => named)

describe.each(pages)('%s', (page) => {
  it('links only to files and headings that exist', () => {
    const broken = linksOf(page).filter((link) => {
      const [file = '', anchor] = link.split('#')
      const target = file === '' ? page : path.join(path.dirname(page), file)
      if (!existsSync(path.join(root, target))) return true
      return anchor !== undefined && !anchorsOf(target).includes(anchor)
    })
    expect(broken).toEqual([])
  })

  it('names only paths of the repository that exist', () => {
    expect(pathsOf(page).filter((named) => !existsSync(path.join(root, named)))).toEqual([])
  })

  it('has examples that need no host and no file that is not there', () => {
    const here = /^https?:\/\/(127\.0\.0\.1|localhost)$/
    const missing = neededBy(page).filter((needed) => !here.test(needed) && !existsSync(path.join(root, needed)))
    expect(missing).toEqual([])
  })

  it('names only scripts that package.json has', () => {
    const named = [...textOf(page).matchAll(/\bnpm run ([\w:]+)/g)].map(([, script = '']) => script)
    expect(named.filter((script) => !(script in scripts))).toEqual([])
  })
})
