import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { pages, root, textOf } from './pages.ts'

interface Room {
  name: string
  door: string
  mayImport: string[]
}

/** The rows of the table of rooms. */
const rooms = [
  ...textOf('docs/architecture.md').matchAll(/^\| `(\w+)` +\| [^|]+ \| `([\w./]+)` +\| ([^|]+) \|$/gm),
].map(
  ([, name = '', door = '', imports = '']): Room => ({
    name,
    door,
    mayImport: [...imports.matchAll(/`(\w+)`/g)].map(([, room = '']) => room),
  }),
)

/** Rooms that each room may import, by the rules of dependency-cruiser. All rooms may import the ground. */
function allowedImports(): Map<string, string[]> {
  const { forbidden }: { forbidden: { name: string; to: { pathNot?: unknown } }[] } = createRequire(import.meta.url)(
    path.join(root, '.dependency-cruiser.cjs'),
  )
  return new Map(
    forbidden.flatMap(({ name, to }): [string, string[]][] => {
      const [, room] = /^(\w+)-imports-only-below$/.exec(name) ?? []
      const [, list = ''] = /\(([\w|]+)\)/.exec(String(to.pathNot)) ?? []
      return room === undefined ? [] : [[room, list.split('|').filter((one) => one !== room && one !== 'children')]]
    }),
  )
}

describe('the table of rooms', () => {
  it('has the folders of src/, each with the door that exists', () => {
    const folders = readdirSync(path.join(root, 'src')).filter((name) =>
      statSync(path.join(root, 'src', name)).isDirectory(),
    )
    expect(rooms.map(({ name }) => name).sort()).toEqual(folders.sort())
    for (const { door } of rooms) expect(existsSync(path.join(root, door)), door).toBe(true)
  })

  it('allows the imports that dependency-cruiser allows', () => {
    const sorted = rooms.map(({ name, mayImport }) => [name, mayImport.toSorted()] as const)
    const allowed = [...allowedImports()].map(([name, list]) => [name, list.toSorted()] as const)
    expect(Object.fromEntries(sorted)).toEqual(Object.fromEntries(allowed))
  })

  it('has every room above those that it imports', () => {
    const order = rooms.map(({ name }) => name)
    for (const { name, mayImport } of rooms)
      for (const other of mayImport)
        expect(order.indexOf(other), `${name}, ${other}`).toBeGreaterThan(order.indexOf(name))
  })
})

/** Names that pages say are declared in a file: `src/app.ts` → `createOriel()`, `src/engine/host.ts` → `EngineHost.generate()`. */
const named = pages.flatMap((page) =>
  [...textOf(page).matchAll(/`([\w./-]+\.(?:ts|js))`((?: → `[^`]+`)+)/g)].map(([, file = '', names = '']) => ({
    page,
    file,
    names: [...names.matchAll(/`([^`(]+)(?:\(\))?`/g)].flatMap(([, name = '']) => name.split('.')),
  })),
)

/** Every name that a file declares: functions, classes, methods, types, constants and properties. */
function declaredIn(file: string): Set<string> {
  const source = ts.createSourceFile(file, readFileSync(path.join(root, file), 'utf8'), ts.ScriptTarget.Latest)
  const found = new Set<string>()
  const visit = (node: ts.Node): void => {
    if ('name' in node && node.name !== undefined) {
      const name = node.name as ts.Node
      if (ts.isIdentifier(name) || ts.isPrivateIdentifier(name)) found.add(name.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

describe('the functions that the pages name', () => {
  it('include the three traces', () => {
    expect(named.filter(({ page }) => page === 'docs/architecture.md').length).toBeGreaterThan(30)
  })

  it.each(named)('$file declares $names ($page)', ({ file, names }) => {
    const declared = declaredIn(file)
    expect(names.filter((name) => !declared.has(name))).toEqual([])
  })
})

describe('the diffs that the pages show', () => {
  /** Lines that a file must have: those around a change, and all of a new file. A trial's own file does not exist. */
  const shown = pages.flatMap((page) =>
    [...textOf(page).matchAll(/^```diff\n([\s\S]*?)^```$/gm)].flatMap(([, diff = '']) =>
      diff
        .split(/^diff --git /m)
        .slice(1)
        .map((part) => ({
          page,
          file: /^a\/\S+ b\/(\S+)/.exec(part)?.[1] ?? '',
          lines: [...part.matchAll(part.includes('\nnew file') ? /^\+(?!\+\+ )(.+)$/gm : /^ (.+)$/gm)].map(
            ([, line = '']) => line,
          ),
        })),
    ),
  )

  it.each(shown.filter(({ file }) => existsSync(path.join(root, file))))(
    'apply to $file ($page)',
    ({ file, lines }) => {
      const present = new Set(readFileSync(path.join(root, file), 'utf8').split('\n'))
      expect(lines.filter((line) => !present.has(line))).toEqual([])
    },
  )
})
