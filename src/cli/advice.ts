import { OrielError } from '../errors.ts'
import { NotPulled } from '../models/index.ts'

/** Advice for each error code. It is here because the rooms below know no commands, flags or variables. */
const advice: Readonly<Record<string, string>> = {
  account_not_found: '`oriel accounts list` shows the names of accounts.',
  key_not_found: '`oriel keys list` shows all keys.',
  data_folder_full: 'Free space there, or name another folder with ORIEL_DATA_DIR.',
  database_damaged: 'Restore a backup of it; or move it away and begin anew, without its keys and its usage.',
  database_newer: 'Install that version again, or restore a backup from before it.',
  hub_unreachable:
    'Connect this machine, or set HTTPS_PROXY; models that are here work without it, and so do GGUF files in --models-dir.',
  no_server: 'Start one with `oriel serve`, or name another with --server.',
  bad_installation: 'Install Oriel again on this machine: npm i -g oriel, or npm ci in a clone.',
  encoder_died: '`oriel doctor` checks the installation and the memory.',
  engine_died: '`oriel doctor` checks the installation and the memory.',
  no_decoder: 'A part of Oriel may be missing: install it again (npm i -g oriel, or npm ci in a clone).',
  bad_host: 'Choose another address with --host.',
  keys_needed:
    'Make a key with `oriel keys create --admin`, or set ORIEL_ADMIN_KEY. --insecure (ORIEL_INSECURE=true) serves without keys.',
  model_not_found: '`oriel list` shows the names of models; the path of a GGUF file is also a name.',
  model_too_large:
    'Choose a smaller quantization or context (ORIEL_CONTEXT), or allow more memory with --memory-budget.',
  no_access: 'HF_TOKEN must be a valid token of an account with access.',
  no_space: '`oriel rm` frees space; HF_HUB_CACHE and --models-dir choose other folders.',
  not_a_hub: 'Check HF_ENDPOINT.',
  not_in_catalogue:
    '`oriel list --catalogue` shows what it has; owner/repo, a URL or the path of a GGUF file are also names.',
  offline: 'Unset HF_HUB_OFFLINE to allow them.',
  out_of_memory: 'Set a smaller context (ORIEL_CONTEXT), or choose a smaller model.',
  port_denied: 'Choose a port above 1023 with --port.',
  port_in_use: 'Stop the program that uses it, or choose another port with --port.',
  several_models: 'Use --mmproj with one --model.',
  several_vision_files: 'Choose one with --mmproj.',
  token_needed: 'Set HF_TOKEN to a token of an account with access.',
  unsupported_family: '--anyway downloads it anyway.',
  unusable_folder: 'HF_HUB_CACHE and --models-dir choose other folders.',
  vision_file: 'Use the file of the model itself, and this file with --mmproj.',
}

/** The message of an error, with advice. */
export function advised(error: OrielError): string {
  const words =
    error instanceof NotPulled
      ? `\`oriel pull ${error.entry.id}\` downloads it.`
      : (advice[error.code ?? ''] ?? (error.cause instanceof OrielError ? advice[error.cause.code ?? ''] : undefined))
  return words === undefined ? error.message : `${error.message} ${words}`
}
