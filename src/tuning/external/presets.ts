import type { TrainingConfig } from '../contract.ts'
import type { Form } from './forms.ts'

/** How a program is started, and what it reads. */
export interface Preset {
  /** Words with placeholders. What the settings have after the name of the preset is added. */
  command(files: PresetFiles, config: TrainingConfig): string[]
  /** A file of settings that the command names, in JSON, which is YAML, too. */
  settings?(files: PresetFiles, config: TrainingConfig): { name: string; content: object }[]
  form: Form
  /** Whether it can train the projector, too. */
  trainsProjector: boolean
  /** Whether it can go on from an adapter. */
  startsFromAdapter: boolean
}

export interface PresetFiles {
  readonly folder: string
  readonly output: string
  /** What the program knows the base model by. */
  readonly model: string
  readonly train: string
  readonly evaluation: string | null
}

export const presets: Readonly<Record<string, Preset>> = {
  'ms-swift': {
    form: 'ms-swift',
    trainsProjector: true,
    startsFromAdapter: true,
    command: ({ model, train, evaluation, output }, config) => [
      ...['swift', 'sft', '--model', model, '--train_type', 'lora', '--target_modules', 'all-linear'],
      ...['--freeze_vit', 'true', '--freeze_aligner', `${!config.trainProjector}`, '--dataset', train],
      ...(evaluation === null ? ['--split_dataset_ratio', '0'] : ['--val_dataset', evaluation]),
      ...['--output_dir', output, '--add_version', 'false', '--save_total_limit', '1', '--logging_steps', '1'],
      ...['--lora_rank', `${config.rank}`, '--lora_alpha', `${config.alpha}`],
      ...['--learning_rate', `${config.learningRate}`, '--num_train_epochs', `${config.epochs}`],
      ...['--per_device_train_batch_size', '1', '--gradient_accumulation_steps', `${config.batchExamples}`],
      ...['--warmup_steps', `${config.warmupSteps}`, '--max_length', `${config.maxTokens}`, '--seed', `${config.seed}`],
      ...(config.warmStart === null ? [] : ['--adapters', config.warmStart]),
    ],
  },
  'llama-factory': {
    form: 'llama-factory',
    trainsProjector: true,
    startsFromAdapter: true,
    command: ({ folder }) => ['llamafactory-cli', 'train', `${folder}/llama-factory.yaml`],
    settings: ({ folder, output, model, train, evaluation }, config) => [
      {
        name: 'dataset_info.json',
        content: Object.fromEntries(
          [train, evaluation].flatMap((file, at) =>
            file === null ? [] : [[at === 0 ? 'train' : 'eval', chatsOf(file)]],
          ),
        ),
      },
      {
        name: 'llama-factory.yaml',
        content: {
          ...{ model_name_or_path: model, stage: 'sft', do_train: true, finetuning_type: 'lora', lora_target: 'all' },
          ...{ dataset_dir: folder, dataset: 'train', output_dir: output, overwrite_output_dir: true },
          ...(evaluation !== null && { eval_dataset: 'eval', eval_strategy: 'epoch' }),
          freeze_multi_modal_projector: !config.trainProjector,
          ...{ lora_rank: config.rank, lora_alpha: config.alpha, cutoff_len: config.maxTokens },
          ...(config.warmStart !== null && { adapter_name_or_path: config.warmStart }),
          ...ofTransformers(config),
        },
      },
    ],
  },
  trl: {
    form: 'trl',
    trainsProjector: false,
    startsFromAdapter: false,
    command: ({ folder }) => ['trl', 'sft', '--config', `${folder}/trl.yaml`],
    settings: ({ folder, output, model, evaluation }, config) => [
      {
        name: 'trl.yaml',
        content: {
          ...{ model_name_or_path: model, dataset_name: `${folder}/trl`, output_dir: output, use_peft: true },
          ...{ lora_r: config.rank, lora_alpha: config.alpha, lora_target_modules: [...linear] },
          ...{ max_length: config.maxTokens },
          ...(evaluation !== null && { dataset_test_split: 'validation', eval_strategy: 'epoch' }),
          ...ofTransformers(config),
        },
      },
    ],
  },
  axolotl: {
    form: 'axolotl',
    trainsProjector: false,
    startsFromAdapter: true,
    command: ({ folder }) => ['axolotl', 'train', `${folder}/axolotl.yaml`],
    settings: ({ folder, output, model, train, evaluation }, config) => [
      {
        name: 'axolotl.yaml',
        content: {
          ...{ base_model: model, processor_type: 'AutoProcessor', skip_prepare_dataset: true, sample_packing: false },
          ...{ remove_unused_columns: false, datasets: [conversationsOf(train)], output_dir: output },
          ...(evaluation !== null && { test_datasets: [{ ...conversationsOf(evaluation), split: 'train' }] }),
          ...{ dataset_prepared_path: `${folder}/prepared-axolotl`, sequence_len: config.maxTokens },
          ...{ adapter: 'lora', lora_r: config.rank, lora_alpha: config.alpha, lora_target_modules: [...linear] },
          ...(config.warmStart !== null && { lora_model_dir: config.warmStart }),
          ...{ num_epochs: config.epochs, micro_batch_size: 1, gradient_accumulation_steps: config.batchExamples },
          ...{ learning_rate: config.learningRate, lr_scheduler: 'cosine', warmup_steps: config.warmupSteps },
          ...{ optimizer: 'adamw_torch', logging_steps: 1, save_total_limit: 1, seed: config.seed },
        },
      },
    ],
  },
}

/** The modules that Oriel trains itself. */
const linear = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const

/** What programs that are made with the Trainer of Hugging Face's transformers have in common. */
const ofTransformers = (config: TrainingConfig) => ({
  ...{ num_train_epochs: config.epochs, per_device_train_batch_size: 1 },
  ...{ gradient_accumulation_steps: config.batchExamples, learning_rate: config.learningRate },
  ...{ lr_scheduler_type: 'cosine', warmup_steps: config.warmupSteps, logging_steps: 1, seed: config.seed },
  ...{ save_total_limit: 1, report_to: 'none' },
})

const chatsOf = (file: string) => ({
  file_name: file,
  formatting: 'sharegpt',
  columns: { messages: 'messages', images: 'images' },
  tags: {
    ...{ role_tag: 'role', content_tag: 'content', user_tag: 'user', assistant_tag: 'assistant' },
    ...{ system_tag: 'system', observation_tag: 'tool' },
  },
})

const conversationsOf = (file: string) => ({
  path: file,
  ds_type: 'json',
  type: 'chat_template',
  field_messages: 'messages',
})
