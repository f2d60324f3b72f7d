import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { ListedModel } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { AnswerServices } from '../answering/answer.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { createdAt, isFor, isHere } from '../models/listed.ts'
import { listOf, listParameters, masked, pageOf, paramOf, place, readMaskOf, readMaskParameter } from './resources.ts'

const time = z.iso.datetime()

/** A shape of deployments: here each model has one, which is how it is run. */
export const deploymentShape = z.strictObject({
  name: z.string(),
  displayName: z.string(),
  description: z.string(),
  createTime: time,
  updateTime: time,
  baseModel: z.string(),
  presetType: z.literal('MINIMAL'),
  maxContextLength: z.int(),
  enableAddons: z.literal(true),
})

export const shapeVersion = z.strictObject({
  name: z.string(),
  createTime: time,
  validated: z.literal(true),
  latestValidated: z.literal(true),
  public: z.literal(true),
  snapshot: deploymentShape,
})

export const shapeList = listOf('deploymentShapes', deploymentShape)
export const shapeVersionList = listOf('deploymentShapeVersions', shapeVersion)

const all = {
  ...place,
  method: 'GET',
  path: '/accounts/{account}/deploymentShapes',
  pattern: '/accounts/:account/deploymentShapes',
} as const
const one = { ...all, path: `${all.path}/{shape}`, pattern: `${all.pattern}/:shape` } as const
const versions = { ...all, path: `${one.path}/versions`, pattern: `${one.pattern}/versions` } as const

/** `/accounts/{account}/deploymentShapes`. */
export const shapeEndpoints: readonly Endpoint[] = [
  {
    ...all,
    summary: 'List how models are run: one shape for each',
    query: listParameters,
    answer: shapeList,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof shapeList>> => {
        const { entries, ...page } = pageOf(request, await shapesFor(request, services))
        return { deploymentShapes: entries, ...page }
      },
  },
  {
    ...one,
    summary: 'Get the shape of a model',
    query: readMaskParameter,
    answer: deploymentShape,
    handler:
      ({ services }) =>
      async (request) =>
        masked(await shapeIn(request, services), readMaskOf(request)),
  },
  {
    ...versions,
    summary: 'List the versions of a shape: it has one',
    query: listParameters,
    answer: shapeVersionList,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof shapeVersionList>> => {
        const { entries, ...page } = pageOf(request, [versionOf(await shapeIn(request, services))])
        return { deploymentShapeVersions: entries, ...page }
      },
  },
  {
    ...versions,
    path: `${versions.path}/{version}`,
    pattern: `${versions.pattern}/:version`,
    summary: 'Get the version of a shape',
    query: readMaskParameter,
    answer: shapeVersion,
    handler:
      ({ services }) =>
      async (request) => {
        if (paramOf(request, 'version') !== onlyVersion) throw noShape()
        return masked(versionOf(await shapeIn(request, services)), readMaskOf(request))
      },
  },
]

const onlyVersion = '1'

async function shapesFor(
  request: FastifyRequest,
  { deployments }: AnswerServices,
): Promise<z.output<typeof deploymentShape>[]> {
  const models = (await deployments.list()).filter(isHere).filter(isFor(request.identity))
  return models.map((model) => shapeOf(model, paramOf(request, 'account')))
}

/** @throws OrielError `not_found` */
async function shapeIn(request: FastifyRequest, services: AnswerServices) {
  const found = (await shapesFor(request, services)).find(
    ({ name }) => name.split('/').at(-1) === paramOf(request, 'shape'),
  )
  if (found === undefined) throw noShape()
  return found
}

const shapeOf = (model: ListedModel, account: string): z.output<typeof deploymentShape> => ({
  // The id of a model may have slashes.
  name: `accounts/${account}/deploymentShapes/${model.id.replaceAll('/', '--')}`,
  displayName: model.title,
  description: model.description,
  createTime: createdAt(model),
  updateTime: createdAt(model),
  baseModel: `accounts/${account}/models/${model.id}`,
  presetType: 'MINIMAL',
  maxContextLength: model.contextTokens,
  enableAddons: true,
})

const versionOf = (snapshot: z.output<typeof deploymentShape>): z.output<typeof shapeVersion> => ({
  name: `${snapshot.name}/versions/${onlyVersion}`,
  createTime: snapshot.createTime,
  validated: true,
  latestValidated: true,
  public: true,
  snapshot,
})

const noShape = (): OrielError => new OrielError('not_found', 'There is no such shape.', { code: 'shape_not_found' })
