import { ask, chat } from './clients.ts'
import { median } from './figures.ts'
import { newImage } from './images.ts'
import { machine } from './machine.ts'
import { freeSpeed } from './measures.ts'
import { modelFiles, modelNames } from './model-files.ts'
import { machineText } from './report.ts'
import { startOriel } from './servers.ts'

/**
 * Measures what the catalogue says about a model's speed, with its shape and random weights: `npx tsx bench/speeds.ts NAME`.
 * One server, one client, two threads, and an image encoder in 32-bit floats: a machine chooses faster forms by itself later.
 */
const threads = 2
const runs = 3
const edge = 512
const settings = { threads, contextTokens: 4096, clients: 1 }

console.log(machineText(machine()))
for (const name of modelNames.filter((one) => process.argv.includes(one))) {
  const server = await startOriel(modelFiles(name), settings, 'fp32')
  const firstToken = async () => {
    const text = 'What is in this image?'
    const image = { type: 'image_url', image_url: { url: await newImage(edge, edge) } }
    // With the default detail.
    const messages = [{ role: 'user', content: [image, { type: 'text', text }] }]
    return (await chat(server, ask({ text }), 4, undefined, [], { messages })).firstToken
  }
  await firstToken()
  const times: number[] = []
  const speeds: number[] = []
  for (let run = 0; run < runs; run++) {
    times.push(await firstToken())
    speeds.push(await freeSpeed(server, run))
  }
  await server.stop()
  const measured = {
    imageSeconds: Number((median(times) / 1000).toPrecision(2)),
    tokensPerSecond: Number(median(speeds).toPrecision(2)),
  }
  console.log(name, JSON.stringify({ measured }))
}
