import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { variables } from '../../src/load-config.ts'

const root = path.join(import.meta.dirname, '../..')
const deploy = path.join(root, 'deploy')
const read = (file: string): string => readFileSync(path.join(deploy, file), 'utf8')
const yaml = (file: string) => parse(read(file))

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'oriel-deploy-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A title with the reason why the test is skipped, if it is. */
const needs = (program: string): { skip: boolean; title: (text: string) => string } => {
  const { error } = spawnSync(program, ['--version'])
  const skip = error !== undefined
  return { skip, title: (text) => (skip ? `${text} (skipped: ${program} is not installed)` : text) }
}

it('has YAML that can be parsed', () => {
  const files = readdirSync(deploy, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.yaml') && !file.includes('templates'),
  )
  expect(files).toContain('compose.yaml')
  for (const file of files) expect(yaml(file), file).toBeTypeOf('object')
})

it('sets only variables that Oriel reads', () => {
  const known = variables.map(({ name }) => name)
  for (const file of [
    'Dockerfile',
    'compose.yaml',
    'Caddyfile',
    'oriel.service',
    'chart/values.yaml',
    'chart/templates/deployment.yaml',
  ])
    for (const [name] of read(file).matchAll(/\b(ORIEL_[A-Z_]+|DATABASE_URL|REDIS_URL|HF_TOKEN)\b/g))
      expect(known, `${name} in ${file}`).toContain(name)
})

describe('deploy/compose.yaml', () => {
  const { services, volumes, secrets } = yaml('compose.yaml')
  const entries: [string, Record<string, never>][] = Object.entries(services)

  it('has Oriel by default, and the rest by profile', () => {
    expect(entries.map(([name, { profiles = ['default'] }]) => `${name}: ${profiles}`)).toEqual([
      ...['oriel: default', 'caddy: tls', 'postgres: shared', 'redis: shared', 'prometheus: watch', 'grafana: watch'],
    ])
  })

  it('mounts files that exist, and volumes that it declares', () => {
    for (const [name, service] of entries)
      for (const mount of (service.volumes ?? []) as string[]) {
        const [from = ''] = mount.split(':')
        if (from.startsWith('.')) expect(existsSync(path.join(deploy, from)), `${name}: ${from}`).toBe(true)
        else expect(Object.keys(volumes), name).toContain(from)
      }
    for (const [, service] of entries)
      for (const secret of (service.secrets ?? []) as string[]) expect(Object.keys(secrets)).toContain(secret)
  })

  it('publishes only Caddy to other machines', () => {
    for (const [name, service] of entries)
      for (const port of (service.ports ?? []) as string[])
        if (name !== 'caddy') expect(port, name).toMatch(/^127\.0\.0\.1:/)
  })

  it('runs Oriel with no rights and a root that cannot be written, and waits for its end', () => {
    const { oriel } = services
    expect(oriel).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] })
    const { ORIEL_SHUTDOWN_DELAY_MS: delay, ORIEL_GRACE_MS: grace } = oriel.environment
    expect(Number.parseInt(oriel.stop_grace_period, 10) * 1000).toBeGreaterThanOrEqual(delay + grace + 5000)
  })
})

describe('deploy/Dockerfile', () => {
  /** Its instructions, each on one line. */
  const instructions = read('Dockerfile')
    .replace(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
  const of = (word: string): string[] => instructions.filter((line) => line.startsWith(`${word} `))

  it('has a stage for each device, of which the last one is made', () => {
    expect(of('FROM').map((line) => line.replace(/^.* AS /, ''))).toEqual([
      'build',
      'cpu',
      'cuda',
      `FROM $${'{DEVICE}'}`,
    ])
    expect(of('ARG')).toEqual(['ARG DEVICE=cpu', 'ARG DEVICE'])
    expect(readFileSync(path.join(root, '.nvmrc'), 'utf8').trim()).toBe(/node:(\d+)-/.exec(of('FROM')[0] ?? '')?.[1])
  })

  it('runs as nobody, and asks for its health without a shell', () => {
    expect(of('USER')).toEqual(['USER 10001:10001'])
    for (const word of ['CMD', 'ENTRYPOINT']) expect(of(word)[0]).toMatch(/ \[".*"\]$/)
    const probe: string[] = JSON.parse(/CMD (\[.*\])$/.exec(of('HEALTHCHECK')[0] ?? '')?.[1] ?? '')
    expect(probe.slice(0, 2)).toEqual(['node', '-e'])
    // Nobody listens there.
    const { status } = spawnSync(process.execPath, probe.slice(1), { env: { ORIEL_PORT: '9' } })
    expect(status).toBe(1)
  })

  it('sends Docker what the image is made of, and no more', () => {
    const ignored = read('Dockerfile.dockerignore').split('\n')
    const { files } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
    for (const needed of ['src', 'web', 'scripts', 'package-lock.json', ...files])
      if (needed !== 'dist') expect(ignored).not.toContain(needed)
    expect(ignored).toEqual(expect.arrayContaining(['**/node_modules', '**/.env', '.git']))
  })
})

describe('deploy/oriel.service', () => {
  const analyze = needs('systemd-analyze')
  const unit = () => {
    const file = path.join(folder, 'oriel.service')
    writeFileSync(file, read('oriel.service').replace('/usr/local/bin/oriel serve', `${process.execPath} serve`))
    return file
  }

  it.skipIf(analyze.skip)(analyze.title('is a unit that systemd understands'), () => {
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', unit()], { encoding: 'utf8' })
    expect([status, stderr.split('\n').filter((line) => line.includes('oriel.service'))]).toEqual([0, []])
  })

  it.skipIf(analyze.skip)(analyze.title('exposes little'), () => {
    const flags = ['security', '--offline=true', '--no-pager', '--threshold=20']
    const { status, stdout } = spawnSync('systemd-analyze', [...flags, unit()], { encoding: 'utf8' })
    expect([status, stdout]).toEqual([0, expect.stringContaining('Overall exposure level')])
  })

  it('gives Oriel the time that it takes to end, and ends its engines last', () => {
    const value = (name: string): string => new RegExp(`\\b${name}=(\\S+)`).exec(read('oriel.service'))?.[1] ?? ''
    const needed = Number(value('ORIEL_SHUTDOWN_DELAY_MS')) + Number(value('ORIEL_GRACE_MS')) + 5000
    expect(Number(value('TimeoutStopSec')) * 1000).toBeGreaterThanOrEqual(needed)
    expect(value('KillMode')).toBe('mixed')
  })
})

describe('Prometheus', () => {
  const promtool = needs('promtool')

  it.skipIf(promtool.skip)(promtool.title('understands its configuration and the rules'), () => {
    const config = spawnSync('promtool', ['check', 'config', '--syntax-only', path.join(deploy, 'prometheus.yaml')])
    const rules = spawnSync('promtool', ['check', 'rules', path.join(deploy, 'alerts.yaml')])
    expect([config.status, rules.status, String(rules.stdout)]).toEqual([0, 0, expect.stringContaining('SUCCESS')])
  })
})
