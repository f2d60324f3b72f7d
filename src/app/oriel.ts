import type { Backend, Count, ListedModel } from '../deployments/index.ts'
import type { Logger } from '../log.ts'
import type { FileInput, Message, QuestionOptions } from './question.ts'
import type { Reply } from './reply.ts'

/** Oriel in a program: ask models about images, videos and audio, with or without the HTTP server. */
export interface Oriel {
  /**
   * Asks a model. Resolves when the answer begins, after the model is loaded and the prompt is admitted.
   * @param question a text, whose images, videos and audio are in the options, or the messages of a conversation
   * @throws OrielError what is wrong with the question, or why the model cannot answer
   */
  ask(question: string | readonly Message[], options?: QuestionOptions): Promise<Reply>
  /** Counts the tokens of a question without asking it. @throws OrielError as `ask` does */
  count(question: string | readonly Message[], options?: QuestionOptions): Promise<Count>
  /**
   * Embeds texts with a model that is made for it.
   * @returns the embeddings, each of length 1, in the order of the texts, and the tokens of all
   * @throws OrielError what is wrong with a text, or why the model cannot embed it
   */
  embed(texts: string | readonly string[], options?: EmbedOptions): Promise<Embedded>
  /** What an image's file is, without asking about it. @throws OrielError for a file that is not an image */
  inspect(
    image: FileInput,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<{ format: string; bytes: number; pages: number }>
  /** The models on this machine, the loaded ones first, and those of the catalogue that can be downloaded. */
  models(): Promise<ListedModel[]>
  /**
   * Loads models that no request waits for. They stay until another model needs their memory.
   * @param names default: those that the settings name
   * @throws OrielError why a model cannot be loaded
   */
  load(names?: readonly string[], options?: LoadOptions): Promise<void>
  /**
   * Loads the models that the settings name and serves HTTP.
   * @throws OrielError `invalid` when it cannot listen there: codes `port_in_use`, `port_denied`, `bad_host`; `keys_needed`
   * when other machines could reach it, and no key exists; and as `createAccounts` does
   */
  listen(options?: ListenOptions): Promise<Listening>
  /**
   * Lets the answers of the server end. `/ready` says at once that it ends, for as long as the settings' `server.shutdownDelayMs`;
   * then nothing new is let in, and answers in progress have `server.graceMs`. To be followed by `close`.
   * @param hurry ends the waiting
   */
  drain(hurry?: AbortSignal): Promise<void>
  /**
   * Reads the configuration again, and holds to its upstreams and aliases from now on. Answers that run go on.
   * @throws OrielError why it is not allowed; then everything stays as it was
   */
  reload(): Promise<Reloaded>
  /**
   * Closes the server, then the models. What is asked afterwards is refused. HTTP answers in progress have `graceMs` to end
   * (default: 1000); answers to `ask` end at once.
   */
  close(options?: { graceMs?: number }): Promise<void>
}

export interface EmbedOptions {
  /** The model's name. Default: the first that the settings name. */
  model?: string | undefined
  /** Keep this many of the first numbers, for models that are trained for it. Default: all. */
  dimensions?: number | undefined
  /** Ends the work. */
  signal?: AbortSignal | undefined
}

export interface Embedded {
  embeddings: Float32Array[]
  tokens: number
}

export interface Listening {
  url: string
  /** The models that it has loaded. */
  models: readonly string[]
  /** The servers elsewhere whose models answer here, by their names. */
  upstreams: readonly string[]
  /** Whether requests need an API key. */
  needsKey: boolean
}

/** What differs since the configuration was read before. */
export interface Reloaded {
  /** Names of upstreams. */
  added: readonly string[]
  changed: readonly string[]
  removed: readonly string[]
  /** Settings that hold after a restart only. */
  later: readonly string[]
}

export interface LoadOptions {
  /** Receives the share of a model that is loaded: 0 to 1. */
  onProgress?: ((model: string, share: number) => void) | undefined
}

export interface ListenOptions extends LoadOptions {
  /** Defaults: the settings' `server.host` and `server.port`. */
  host?: string | undefined
  /** 0: any free port. */
  port?: number | undefined
  /** Whether it goes on with jobs of training that another process has left. Default: true. */
  resumesJobs?: boolean | undefined
}

/** What a program may replace. */
export interface Surroundings {
  /** Environment variables; settings win over them. Default: those of the process. */
  env?: NodeJS.ProcessEnv
  log?: Logger
  /** Further models, which your own code runs. */
  backends?: readonly Backend[]
}
