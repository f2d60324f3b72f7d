import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A trainer that keeps to the contract and learns nothing: `node fake-trainer.js FOLDER BEHAVIOUR`. Its adapter is one of numbers
 * for the built-in model. It loads no package: tests start it often, beside programs that have a higher priority.
 */

const [folder = '', behaviour = ''] = process.argv.slice(2)
const steps = 20
const config = JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8'))
const say = (/** @type {object} */ line) => void process.stdout.write(`${JSON.stringify(line)}\n`)
const linesOf = (/** @type {string} */ name) =>
  existsSync(path.join(folder, name)) ? readFileSync(path.join(folder, name), 'utf8').split('\n').length - 1 : 0

let isStopped = false
process.on('SIGTERM', () => {
  isStopped = true
})

const checkpoint = path.join(folder, 'checkpoint', 'step')
const begun = existsSync(checkpoint) ? Number(readFileSync(checkpoint, 'utf8')) : 0
say({ type: 'phase', phase: 'preparing', share: 1 })
if (behaviour === 'refuses') {
  say({ type: 'failed', message: 'line 2: the picture is too dark.' })
  process.exit(1)
}
if (behaviour === 'strays') {
  // As torchrun starts its workers.
  const worker = spawn('sleep', ['60'], { detached: true, stdio: ['ignore', 'ignore', 'inherit'] })
  worker.unref()
  writeFileSync(path.join(folder, '..', 'worker'), String(worker.pid))
}
const examples = { examples: linesOf('train.jsonl'), evaluation: linesOf('eval.jsonl') }
const counts = { tokens: 100, learnedTokens: 10, images: 3, imageTokens: 30, truncated: 1, dropped: 0 }
say({ type: 'examples', ...examples, ...counts, steps, memoryBytes: 1e6 })
say({ type: 'phase', phase: 'training', share: 0 })
for (let step = begun + 1; step <= steps && !isStopped; step++) {
  await sleep(behaviour === 'slow' ? 40 : 2)
  if (behaviour === 'crashes' && step === 5) process.kill(process.pid, 'SIGSEGV')
  process.stderr.write('a line of its log\n')
  say({
    ...{ type: 'step', step, epoch: (step / steps) * config.epochs, loss: 2 / step, learningRate: 1e-4 },
    ...{ gradientNorm: 1, tokens: step * 100, seconds: step / 100 },
  })
  if (step % 10 === 0) say({ type: 'evaluation', step, loss: 3 / step })
  mkdirSync(path.dirname(checkpoint), { recursive: true })
  writeFileSync(`${checkpoint}.new`, String(step))
  renameSync(`${checkpoint}.new`, checkpoint)
  while (behaviour === 'waits' && step === begun + 3 && !isStopped) await sleep(20)
}
if (!isStopped) {
  say({ type: 'phase', phase: 'writing', share: 0 })
  writeAdapter(path.join(folder, 'output'), behaviour === 'misfits' ? 5 : 192)
  say({ type: 'done', step: steps, earlyStopped: behaviour === 'early', bestStep: behaviour === 'early' ? 10 : steps })
}

/** @param {string} output @param {number} width of the model */
function writeAdapter(output, width) {
  const [rank, modules] = [4, [0, 1, 2, 3].map((layer) => `base_model.model.model.layers.${layer}.self_attn.q_proj`)]
  const tensors = modules.flatMap((module) => [
    { name: `${module}.lora_A.weight`, shape: [rank, width] },
    { name: `${module}.lora_B.weight`, shape: [width, rank] },
  ])
  const bytes = 4 * rank * width
  const header = tensors.map(({ name, shape }, at) => [
    name,
    { dtype: 'F32', shape, data_offsets: [at * bytes, (at + 1) * bytes] },
  ])
  const text = Buffer.from(JSON.stringify(Object.fromEntries(header)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const numbers = Float32Array.from({ length: tensors.length * rank * width }, (_, at) => Math.sin(at) / 4)
  mkdirSync(output, { recursive: true })
  writeFileSync(
    path.join(output, 'adapter_config.json'),
    JSON.stringify({ peft_type: 'LORA', r: rank, lora_alpha: 2 * rank, base_model_name_or_path: null }),
  )
  writeFileSync(
    path.join(output, 'adapter_model.safetensors'),
    Buffer.concat([length, text, Buffer.from(numbers.buffer)]),
  )
}
