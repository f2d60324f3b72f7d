import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../src/load-config.ts'
import { chart, type Manifest, render, whyNotRendered } from './chart.ts'

const read = (file: string): string => readFileSync(path.join(chart, file), 'utf8')
const validate = new Ajv({ strict: true }).compile(JSON.parse(read('values.schema.json')))
const isAllowed = (values: unknown): boolean => validate(values)

const all = {
  image: { repository: 'registry.example.com/oriel', tag: 'cuda' },
  imagePullSecrets: [{ name: 'registry' }],
  models: ['qwen3.5-0.8b', 'pocket'],
  pull: ['qwen3.5-0.8b'],
  settings: {
    engine: { contextTokens: 8192 },
    server: { strict: true },
    upstreams: [{ name: 'house', url: 'http://vllm.vision:8000', api: 'vllm', keyFrom: 'HOUSE_KEY' }],
  },
  secret: { values: { ORIEL_ADMIN_KEY: 'a "key": # of many characters', DATABASE_URL: 'postgres://oriel@db/oriel' } },
  hostnames: ['oriel.example.com'],
  shutdown: { delaySeconds: 5, graceSeconds: 30 },
  cache: { create: true, size: '100Gi', storageClass: 'shared' },
  gpus: 1,
  autoscaling: { enabled: true },
  podDisruptionBudget: { enabled: true },
  serviceMonitor: { enabled: true, keySecret: { name: 'metrics' }, labels: { release: 'prometheus' } },
  podLabels: { 'llm-d.ai/model': 'qwen' },
  podAnnotations: { note: 'one' },
  nodeSelector: { gpu: 'yes' },
  tolerations: [{ key: 'gpu', operator: 'Exists' }],
  affinity: { podAntiAffinity: {} },
}

describe('the values of the chart', () => {
  it('are those that the schema knows, with defaults that it allows', () => {
    const defaults = parse(read('values.yaml'))
    expect([isAllowed(defaults), validate.errors]).toEqual([true, null])
    const { global: _, ...known } = JSON.parse(read('values.schema.json')).properties
    expect(Object.keys(known)).toEqual(Object.keys(defaults))
    expect([isAllowed(all), validate.errors]).toEqual([true, null])
  })

  it.each([
    [{ replica: 2 }],
    [{ replicas: '2' }],
    [{ models: 'pocket' }],
    [{ secret: { values: { 'database-url': 'postgres://' } } }],
    [{ cache: { size: 'much' } }],
    [{ shutdown: { delaySeconds: -1 } }],
    [{ service: { port: 70_000 } }],
    [{ autoscaling: { enabled: 'yes' } }],
  ])('are refused when they are wrong: %j', (values) => {
    expect(isAllowed(values)).toBe(false)
  })
})

describe(`the chart${whyNotRendered === undefined ? '' : ` (skipped: ${whyNotRendered})`}`, () => {
  const rendered = (values: object, release?: string) => {
    const manifests = render(values, release)
    const one = (kind: string): Manifest => {
      const found = manifests.filter((manifest) => manifest.kind === kind)
      if (found[0] === undefined || found.length > 1) throw new Error(`${found.length} of ${kind}`)
      return found[0]
    }
    return { manifests, one, pod: one('Deployment').spec.template }
  }
  const settingsOf = (one: (kind: string) => Manifest) => JSON.parse(one('ConfigMap').data['oriel.json'])

  it.skipIf(whyNotRendered)('is a Deployment, a Service, a ConfigMap and a Secret by default', () => {
    const { manifests } = rendered({})
    expect(manifests.map(({ apiVersion, kind, metadata }) => `${apiVersion} ${kind} ${metadata.name}`).sort()).toEqual([
      'apps/v1 Deployment oriel',
      'v1 ConfigMap oriel',
      'v1 Secret oriel',
      'v1 Service oriel',
    ])
  })

  it.skipIf(whyNotRendered)('has everything that the values ask for', () => {
    const { manifests, one, pod } = rendered(all)
    expect(manifests.map(({ kind }) => kind).sort()).toEqual([
      ...['ConfigMap', 'Deployment', 'HorizontalPodAutoscaler', 'PersistentVolumeClaim', 'PodDisruptionBudget'],
      ...['Secret', 'Service', 'ServiceMonitor'],
    ])
    expect(one('Secret').stringData).toEqual(all.secret.values)
    const [container] = pod.spec.containers
    expect(container).toMatchObject({
      image: 'registry.example.com/oriel:cuda',
      args: ['serve'],
      resources: { limits: { 'nvidia.com/gpu': 1, memory: '4Gi' } },
    })
    expect(pod.spec.initContainers).toMatchObject([{ args: ['pull', 'qwen3.5-0.8b'], image: container.image }])
    expect(pod.spec).toMatchObject({
      terminationGracePeriodSeconds: 45,
      nodeSelector: all.nodeSelector,
      tolerations: all.tolerations,
      affinity: all.affinity,
      imagePullSecrets: all.imagePullSecrets,
    })
    expect(pod.metadata).toMatchObject({ labels: all.podLabels, annotations: all.podAnnotations })
    // The autoscaler says how many.
    expect(one('Deployment').spec).not.toHaveProperty('replicas')
    expect(one('PersistentVolumeClaim')).toMatchObject({
      metadata: { name: 'oriel-cache' },
      spec: {
        accessModes: ['ReadWriteMany'],
        storageClassName: 'shared',
        resources: { requests: { storage: '100Gi' } },
      },
    })
    expect(one('ServiceMonitor').metadata.labels).toMatchObject(all.serviceMonitor.labels)
    expect(one('ServiceMonitor').spec.endpoints[0].authorization.credentials).toEqual({ name: 'metrics', key: 'key' })
  })

  it.skipIf(whyNotRendered)('writes a configuration file that Oriel reads', () => {
    const { one } = rendered(all, 'eyes')
    const settings = settingsOf(one)
    expect(settings).toEqual({
      model: all.models,
      models: { dirs: ['/data/.cache/models'] },
      engine: { contextTokens: 8192 },
      upstreams: all.settings.upstreams,
      server: {
        strict: true,
        insecure: false,
        hostnames: [
          ...['eyes-oriel.vision', 'eyes-oriel.vision.svc', 'eyes-oriel.vision.svc.cluster.local'],
          'oriel.example.com',
        ],
        shutdownDelayMs: 5000,
        graceMs: 30_000,
      },
    })
    expect(loadConfig(settings, { HOUSE_KEY: 'secret' })).toMatchObject({
      server: { graceMs: 30_000, strict: true },
      upstreams: [{ name: 'house' }],
    })
  })

  it.skipIf(whyNotRendered)('connects its parts: selectors, ports, volumes, names', () => {
    for (const values of [{}, all]) {
      const { manifests, one, pod } = rendered(values)
      const selector = one('Deployment').spec.selector.matchLabels
      expect(pod.metadata.labels).toMatchObject(selector)
      expect(one('Service').spec.selector).toEqual(selector)
      const volumes = pod.spec.volumes.map(({ name }: { name: string }) => name)
      const { ports, volumeMounts, envFrom, startupProbe, livenessProbe, readinessProbe } = pod.spec.containers[0]
      expect(volumeMounts.map(({ name }: { name: string }) => name).sort()).toEqual(volumes.sort())
      expect(envFrom).toEqual([{ secretRef: { name: one('Secret').metadata.name } }])
      expect(ports).toEqual([{ name: 'http', containerPort: 8080 }])
      expect(one('Service').spec.ports[0].targetPort).toBe('http')
      expect([startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path)).toEqual([
        ...['/health', '/health', '/ready'],
      ])
      for (const { metadata } of manifests) expect(metadata).toMatchObject({ labels: selector, namespace: 'vision' })
    }
  })

  it.skipIf(whyNotRendered)('runs as nobody, and writes only to its volumes', () => {
    const { pod } = rendered(all)
    expect(pod.spec).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 10_001,
        fsGroup: 10_001,
        seccompProfile: { type: 'RuntimeDefault' },
      },
    })
    for (const container of [...pod.spec.containers, ...pod.spec.initContainers])
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
  })

  it.skipIf(whyNotRendered)('replaces pods when their settings or their secret change, one after the other', () => {
    const annotationsOf = (values: object) => rendered(values).pod.metadata.annotations
    const one = annotationsOf({})
    expect(annotationsOf({})).toEqual(one)
    expect(annotationsOf({ models: [] })).not.toEqual(one)
    expect(annotationsOf({ secret: { values: { HF_TOKEN: 'x' } } })).not.toEqual(one)
    expect(rendered({}).one('Deployment').spec.strategy).toMatchObject({ rollingUpdate: { maxUnavailable: 0 } })
    expect(rendered({ data: { create: true } }).one('Deployment').spec.strategy).toEqual({ type: 'Recreate' })
    const ofOneNode = { create: true, accessMode: 'ReadWriteOnce' }
    expect(rendered({ cache: ofOneNode }).one('Deployment').spec.strategy).toEqual({ type: 'Recreate' })
    expect(rendered({ cache: { create: true } }).one('Deployment').spec.strategy).toHaveProperty('rollingUpdate')
  })

  it.skipIf(whyNotRendered)('refuses what would lose data, and says what to do', () => {
    expect(() => render({ replicas: 2, data: { create: true } })).toThrow(/Several pods share PostgreSQL/)
    expect(() => render({ replicas: 2, cache: { create: true, accessMode: 'ReadWriteOnce' } })).toThrow(/ReadWriteMany/)
    expect(() => render({ secret: { existing: 'mine' } }).map(({ kind }) => kind)).not.toThrow()
    expect(render({ secret: { existing: 'mine' } }).map(({ kind }) => kind)).not.toContain('Secret')
  })
})

it('has no template that the tests do not know', () => {
  expect(readdirSync(path.join(chart, 'templates')).sort()).toEqual([
    ...['NOTES.txt', '_helpers.tpl', 'autoscaler.yaml', 'claims.yaml', 'configmap.yaml', 'deployment.yaml'],
    ...['disruption-budget.yaml', 'secret.yaml', 'service-monitor.yaml', 'service.yaml'],
  ])
})
