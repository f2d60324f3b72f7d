/** How the models of a family read a video: which frames, and what stands around them. */
export interface VideoFormat {
  /** Frames of a second, and the most of one video, unless a request says otherwise. */
  readonly perSecond: number
  readonly most: number
  /** What stands in the prompt: text, whose control tokens are read as such, and the numbers of views. */
  layout(video: ViewedVideo): readonly (string | number)[]
  /**
   * Of a decoder that has the time of a view in its position: how much later each view is than the first. No text is between
   * the views then, and the marks around all of them are in the layout.
   */
  later?(views: ViewedVideo['views']): readonly number[]
}

export interface ViewedVideo {
  /** The times of the frames in each view, in seconds. A view is one frame, or two that the encoder joins. */
  readonly views: readonly (readonly number[])[]
  /** How long the video is. */
  readonly seconds: number
}

/** What tells how a model reads videos. */
export interface VideoModel {
  /** The families of its encoders, as the GGUF names them; null: it has no such encoder. */
  readonly sees: string | null
  readonly hears: string | null
  /** Its name, where that tells the generations of a family apart. */
  readonly title: string
}

export function videoFormatOf({ sees, hears, title }: VideoModel): VideoFormat {
  if (sees === 'glm4v' && /4\.[15]v/i.test(title)) return olderGlm
  if (sees === 'qwen3vl_merger' && hears === 'qwen3a') return qwen3Omni
  return formats[sees ?? ''] ?? stamped
}

/** As llama.cpp's `mtmd_helper_video`, in the middle of which a stamp follows a frame every five seconds. */
const stamped: VideoFormat = {
  ...{ perSecond: 1, most: 32 },
  layout({ views }) {
    let next = 0
    const parts = views.flatMap(([time = 0], view) => {
      if (time < next) return [view]
      next = (Math.floor(time / stampEvery) + 1) * stampEvery
      const minutes = Math.floor(time / 60)
      return [view, `[${minutes}m${(time - minutes * 60).toFixed(2)}s]`]
    })
    return ['Video:', ...parts]
  },
}
/** In seconds. */
const stampEvery = 5

/** What the processors of the models' makers write. The paths are those of Hugging Face's transformers. */
const formats: Readonly<Record<string, VideoFormat>> = {
  /** SmolVLM2: models/smolvlm/processing_smolvlm.py and video_processing_smolvlm.py. */
  idefics3: {
    ...{ perSecond: 1, most: 64 },
    layout: ({ views, seconds }) => [
      `You are provided the following series of ${inWords(views.length)} frames from a ${inHours(seconds)} [H:MM:SS] video.\n`,
      ...views.flatMap(([time = 0], view) => [`\nFrame from ${inMinutes(time)}:`, view]),
      '\n\n',
    ],
  },

  /** models/qwen2_vl/video_processing_qwen2_vl.py, and `get_rope_index` of each generation. */
  qwen2vl_merger: qwen(0),
  'qwen2.5vl_merger': qwen(2),
  'qwen2.5o': qwen(25),
  exaone4_5: { ...stamped, perSecond: 2, most: 768 },

  /** models/qwen3_vl/processing_qwen3_vl.py. */
  qwen3vl_merger: {
    ...{ perSecond: 2, most: 768 },
    layout: ({ views }) => views.flatMap((times, view) => [`<${inTenths(meanOf(times))} seconds>`, view]),
  },

  /** GLM-4.6V: models/glm46v/processing_glm46v.py. It has a rate for each length of videos: most have two a second. */
  glm4v: { perSecond: 2, most: 640, layout: glm((time) => `${inTenths(time)} seconds`) },

  /** models/gemma4/processing_gemma4.py and video_processing_gemma4.py. */
  gemma4v: { perSecond: 1, most: 32, layout: inClockTime },
  gemma4uv: { perSecond: 1, most: 32, layout: inClockTime },

  /** models/internvl/processing_internvl.py. */
  internvl: {
    ...{ perSecond: 1, most: 32 },
    layout: ({ views }) => views.flatMap((_, view) => [`Frame${view + 1}: `, view, '\n']),
  },

  /** `chat` of MiniCPM-V 2.6 and later joins the frames, and the question behind them, with line breaks. */
  resampler: { perSecond: 1, most: 64, layout: line },
  minicpmv4_6: { perSecond: 1, most: 64, layout: line },
}

function inClockTime({ views }: ViewedVideo): (string | number)[] {
  return views.flatMap(([time = 0], view) => [`${view === 0 ? '' : ' '}${inMinutes(time)} `, view])
}

function line({ views }: ViewedVideo): (string | number)[] {
  return views.flatMap((_, view) => [view, '\n'])
}

/** models/qwen3_omni_moe/processing_qwen3_omni_moe.py, without the sound between the frames. */
const qwen3Omni: VideoFormat = { ...qwen(13), perSecond: 1 }

/** GLM-4.1V and GLM-4.5V: models/glm4v/processing_glm4v.py and video_processing_glm4v.py. */
const olderGlm: VideoFormat = { perSecond: 2, most: 600, layout: glm((time) => `${Math.floor(time)}`) }

function glm(stamp: (time: number) => string): VideoFormat['layout'] {
  return ({ views }) => [
    '<|begin_of_video|>',
    ...views.flatMap(([time = 0], view) => [view, stamp(time)]),
    '<|end_of_video|>',
  ]
}

/** @param perSecond steps of time in the positions of a second; 0: a view is one step after the other, whatever its time */
function qwen(perSecond: number): VideoFormat {
  return {
    ...{ perSecond: 2, most: 768 },
    layout: ({ views }) => ['<|vision_start|>', ...views.keys(), '<|vision_end|>'],
    later(views) {
      const [[first = 0] = []] = views
      let last = -1
      return views.map(([time = 0]) => {
        // A step may be a rounding error later than that of its time.
        last = Math.max(last + 1, Math.floor((time - first) * perSecond + 1e-6))
        return last
      })
    },
  }
}

const meanOf = (times: readonly number[]): number => times.reduce((sum, time) => sum + time, 0) / times.length

/** As Python rounds: a quarter of a second, which is exactly between two tenths, to the even one. */
const inTenths = (seconds: number): string => (seconds % 1 === 0.25 ? `${Math.floor(seconds)}.2` : seconds.toFixed(1))

const padded = (value: number): string => String(Math.floor(value)).padStart(2, '0')

/** `MM:SS` */
const inMinutes = (seconds: number): string => `${padded(seconds / 60)}:${padded(seconds % 60)}`

/** `H:MM:SS` */
const inHours = (seconds: number): string => `${Math.floor(seconds / 3600)}:${inMinutes(seconds % 3600)}`

const small =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  )
const tens = 'twenty thirty forty fifty sixty seventy eighty ninety'.split(' ')

/** A number below a million, as Python's num2words writes it: `one hundred and twenty-one`. */
function inWords(count: number): string {
  if (count < 20) return small[count] ?? ''
  if (count < 100) return joined(tens[Math.floor(count / 10) - 2] ?? '', '-', count % 10)
  if (count < 1000) return joined(`${small[Math.floor(count / 100)]} hundred`, ' and ', count % 100)
  return joined(`${inWords(Math.floor(count / 1000))} thousand`, count % 1000 < 100 ? ' and ' : ', ', count % 1000)
}

const joined = (before: string, between: string, rest: number): string =>
  rest === 0 ? before : `${before}${between}${inWords(rest)}`
