import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { configSchema } from '../../src/config.ts'
import type { ExampleLine, TrainingConfig } from '../../src/tuning/contract.ts'
import { ExternalTrainer } from '../../src/tuning/external/external.ts'
import { LogReader } from '../../src/tuning/external/log-reader.ts'
import { readingOf } from '../../src/tuning/index.ts'

const pocket = fileURLToPath(new URL('../../models/pocket/pocket.gguf', import.meta.url))
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

const config: TrainingConfig = {
  base: { id: 'pocket', decoder: pocket, projector: null },
  ...{ warmStart: null, chatTemplate: null, epochs: 2, learningRate: 1e-4, warmupSteps: 3, rank: 8, alpha: 16 },
  ...{
    batchExamples: 4,
    batchTokens: null,
    reading: readingOf(configSchema.parse({})),
    maxTokens: 512,
    earlyStop: false,
    trainProjector: false,
    seed: 7,
    memoryBytes: 1e9,
    threads: 2,
  },
}

const example: ExampleLine = {
  messages: [
    {
      role: 'user',
      content: [
        { type: 'image', image: 'images/a.png' },
        { type: 'text', text: 'Which?' },
      ],
    },
    { role: 'assistant', content: [{ type: 'text', text: 'A bolt.' }] },
  ],
}

function jobFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-external-'))
  folders.push(folder)
  mkdirSync(path.join(folder, 'images'))
  writeFileSync(path.join(folder, 'images/a.png'), 'a picture')
  const line = `${JSON.stringify(example)}\n`
  writeFileSync(path.join(folder, 'train.jsonl'), line.repeat(6))
  writeFileSync(path.join(folder, 'eval.jsonl'), line)
  return folder
}

const trainer = (...words: string[]) =>
  new ExternalTrainer({ trainer: words, trainerModels: { pocket: 'owner/pocket' } })
const jsonIn = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8').split('\n')[0] ?? '')

describe('a command of the settings', () => {
  it('gets the folder, the files of the model and its name in place of words, and no shell', async () => {
    const folder = jobFolder()
    const command = trainer(
      'train',
      '--in={folder}',
      '{output}',
      '{decoder}',
      '{projector}',
      '{model}',
      '$HOME',
      '{other}',
    )
    const { words } = await command.prepare(config, folder)
    expect(words).toEqual([
      ...['train', `--in=${folder}`, `${folder}/output`, pocket, '', 'owner/pocket', '$HOME', '{other}'],
    ])
  })

  it('is refused if nobody knows what it knows the model by', async () => {
    const unknown = new ExternalTrainer({ trainer: ['trl'], trainerModels: {} })
    await expect(unknown.prepare(config, jobFolder())).rejects.toMatchObject({ code: 'trainer_model_unknown' })
  })
})

describe('the presets', () => {
  it('train the projector where they can', async () => {
    const { words } = await trainer('ms-swift').prepare({ ...config, trainProjector: true }, jobFolder())
    expect(words.join(' ')).toContain('--freeze_vit true --freeze_aligner false')
    const wanted = { hyperparameters: { trainProjector: true } }
    const names = ['ms-swift', 'llama-factory', 'trl', 'axolotl', 'own']
    expect(names.map((name) => trainer(name).refusalOf(wanted) === undefined)).toEqual([true, true, false, false, true])
  })

  it('give ms-swift marks in the texts, and the paths of images', async () => {
    const folder = jobFolder()
    const { words } = await trainer('ms-swift', '--quant_bits', '4').prepare(config, folder)
    expect(words.slice(0, 4)).toEqual(['swift', 'sft', '--model', 'owner/pocket'])
    expect(words.slice(-2)).toEqual(['--quant_bits', '4'])
    expect(words.join(' ')).toContain(`--val_dataset ${folder}/ms-swift-eval.jsonl`)
    expect(jsonIn(`${folder}/ms-swift-train.jsonl`)).toEqual({
      messages: [
        { role: 'user', content: '<image>Which?' },
        { role: 'assistant', content: 'A bolt.' },
      ],
      images: [`${folder}/images/a.png`],
    })
  })

  it('give LLaMA-Factory a list of its datasets, and settings', async () => {
    const folder = jobFolder()
    const { words } = await trainer('llama-factory', 'template=qwen2_vl').prepare(config, folder)
    expect(words).toEqual(['llamafactory-cli', 'train', `${folder}/llama-factory.yaml`, 'template=qwen2_vl'])
    expect(JSON.parse(readFileSync(`${folder}/dataset_info.json`, 'utf8'))).toMatchObject({
      train: { file_name: `${folder}/llama-factory-train.json`, formatting: 'sharegpt' },
      eval: { file_name: `${folder}/llama-factory-eval.json` },
    })
    expect(JSON.parse(readFileSync(`${folder}/llama-factory.yaml`, 'utf8'))).toMatchObject({
      ...{ lora_rank: 8, lora_alpha: 16, num_train_epochs: 2, gradient_accumulation_steps: 4, seed: 7 },
      output_dir: `${folder}/output`,
    })
  })

  it('give TRL a folder of images with their chats', async () => {
    const folder = jobFolder()
    await trainer('trl').prepare(config, folder)
    expect(jsonIn(`${folder}/trl/train/metadata.jsonl`)).toMatchObject({ images_file_names: ['images/a.png'] })
    expect(statSync(`${folder}/trl/train/images/a.png`).ino).toBe(statSync(`${folder}/images/a.png`).ino)
  })

  it('give axolotl images within the messages', async () => {
    const folder = jobFolder()
    const { words } = await trainer('axolotl').prepare(config, folder)
    expect(words).toEqual(['axolotl', 'train', `${folder}/axolotl.yaml`])
    expect(jsonIn(`${folder}/axolotl-train.jsonl`)).toMatchObject({
      messages: [{ content: [{ type: 'image', path: `${folder}/images/a.png` }, { type: 'text' }] }, {}],
    })
  })
})

describe('the presets refuse what they would leave out', () => {
  const all = ['ms-swift', 'llama-factory', 'trl', 'axolotl']

  it.each([
    [all, 'earlyStop', { earlyStop: true }],
    [all, 'jinjaTemplate', { chatTemplate: '{{ messages }}' }],
    [all, 'batchSize', { batchTokens: 1000 }],
    [['trl'], 'warmStartFrom', { warmStart: '/adapter' }],
    [['trl', 'axolotl'], 'trainProjector', { trainProjector: true }],
  ] as const)('%s: %s of a job', async (names, param, more) => {
    for (const name of all) {
      const prepared = trainer(name).prepare({ ...config, ...more }, jobFolder())
      if (names.some((one) => one === name)) await expect(prepared, name).rejects.toMatchObject({ param })
      else expect((await prepared).words, name).not.toEqual([])
    }
    const { words } = await trainer('own', '{folder}').prepare({ ...config, ...more }, jobFolder())
    expect(words[0]).toBe('own')
  })

  const called: ExampleLine['messages'][number] = { role: 'assistant', content: [], tool_calls: [{ id: 'a' }] }
  const [question, answer] = example.messages
  it.each([
    [all, 'Line 3, messages[1].weight is 0', [{ ...question }, { ...answer, weight: 0 }, { ...answer }], undefined],
    [['llama-factory', 'trl'], 'Line 3, messages[1].tool_calls is there', [question, called], undefined],
    [['llama-factory', 'trl'], 'Line 3, tools is there', [question, answer], [{ type: 'function' }]],
  ])('%s: an example, by its line: %s', async (names, message, messages, tools) => {
    for (const name of all) {
      const folder = jobFolder()
      writeFileSync(path.join(folder, 'train.jsonl'), `${JSON.stringify({ line: 3, messages, tools })}\n`)
      const prepared = trainer(name).prepare(config, folder)
      if (names.includes(name)) await expect(prepared, name).rejects.toThrow(message)
      else expect((await prepared).words, name).not.toEqual([])
    }
  })

  it.each([
    [['an ', 'input <image> of HTML'], 'Line 3, messages[1].content[1] has <image>, which the external trainer'],
    [['<video>'], 'Line 3, messages[1].content[0] has <video>'],
    [['<audio>'], 'Line 3, messages[1].content[0] has <audio>'],
    [['<im', 'age>'], 'Line 3, messages[1].content has <image>'],
  ])('ms-swift and llama-factory: a text with one of their marks: %j', async (texts, message) => {
    const content = texts.map((text) => ({ type: 'text', text }))
    for (const name of all) {
      const folder = jobFolder()
      const line = { line: 3, messages: [question, { ...answer, content }] }
      writeFileSync(path.join(folder, 'train.jsonl'), `${JSON.stringify(line)}\n`)
      const prepared = trainer(name).prepare(config, folder)
      if (name === 'ms-swift' || name === 'llama-factory') await expect(prepared, name).rejects.toThrow(message)
      else expect((await prepared).words, name).not.toEqual([])
    }
  })
})

describe('the log of a trainer of Hugging Face', () => {
  const read = (...lines: string[]) => {
    const reader = new LogReader(config, { examples: 6, evaluation: 1 })
    return lines.flatMap((line) => reader.read(line))
  }

  it('tells steps, the loss and evaluations', () => {
    const lines = read(
      'Loading the model',
      "{'loss': 2.5, 'grad_norm': 1.25, 'learning_rate': 1e-05, 'epoch': 0.67}",
      " 25%|##   | 1/4 [00:01<00:02] {'loss': '1.5', 'grad_norm': 'nan', 'learning_rate': '2e-05', 'epoch': '1.33'}",
      "{'eval_loss': 0.75, 'eval_runtime': 1.2, 'epoch': 1.0}",
      "{'train_runtime': 8.1, 'train_loss': 1.9, 'epoch': 2.0}",
    )
    expect(lines).toMatchObject([
      { type: 'examples', examples: 6, evaluation: 1, steps: 4 },
      { type: 'phase', phase: 'training' },
      { type: 'step', step: 1, epoch: 0.67, loss: 2.5, learningRate: 1e-5, gradientNorm: 1.25 },
      { type: 'step', step: 2, epoch: 1.33, loss: 1.5, learningRate: 2e-5, gradientNorm: 0 },
      { type: 'evaluation', step: 2, loss: 0.75 },
    ])
  })

  it('has more steps than were reckoned when a word of the command makes it so', () => {
    const steps = (...lines: string[]) => read(...lines).flatMap((line) => (line.type === 'examples' ? line.steps : []))
    const line = (epoch?: number): string => `{'loss': 0.5${epoch === undefined ? '' : `, 'epoch': ${epoch}`}}`
    // With half as many examples in each step.
    expect(steps(...[1, 2, 3, 4, 5, 6].map((step) => line(step / 3)))).toEqual([4, 6])
    expect(steps(...Array.from({ length: 6 }, () => line()))).toEqual([4, 5, 6])
    // With more epochs.
    expect(steps(...[1, 2, 3, 4, 5].map((step) => line(step / 2)))).toEqual([4, 5])
  })

  it('of ms-swift has its own count of steps', () => {
    const [examples, , step] = read(
      "{'loss': 0.5, 'epoch': 0.1, 'global_step/max_steps': '5/100', 'percentage': '5.00%'}",
    )
    expect([examples, step]).toMatchObject([{ steps: 100 }, { step: 5 }])
  })
})
