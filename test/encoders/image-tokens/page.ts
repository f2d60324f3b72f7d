import { type ImageArchitecture, tokensOf } from '../../../src/encoders/index.ts'
import { knownModels } from './models.ts'

/** Images that people send: [width, height, what it is] */
export const usualSizes = [
  [512, 512, 'a thumbnail'],
  [1024, 768, 'an image of a web page'],
  [1280, 720, 'a frame of a video'],
  [1920, 1080, 'a screen'],
  [1170, 2532, 'the screen of a phone'],
  [4000, 3000, 'a photo'],
  [1240, 1754, 'A4 scanned at 150 dots per inch'],
  [2480, 3508, 'A4 scanned at 300 dots per inch'],
] as const

const details = ['low', 'auto', 'high'] as const

/** Tokens of an image, which its decoder shrinks to twice the edge that the model can use. */
export function tokensIn(
  architecture: ImageArchitecture,
  width: number,
  height: number,
  detail: 'low' | 'auto' | 'high',
) {
  const scale = Math.min(1, (2 * architecture.longestEdge) / Math.max(width, height))
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) }
  return tokensOf(architecture.plan(size, detail))
}

interface Section {
  types: readonly string[]
  heading: string
  text: string
}

const sections: readonly Section[] = [
  {
    types: ['cogvlm'],
    heading: 'CogVLM',
    text: 'Every image is fitted into one square of 490 pixels, with one token for each 14 x 14 pixels, and one before and after them. `detail` has no effect.',
  },
  {
    types: ['deepseekocr', 'deepseekocr2'],
    heading: 'DeepSeek-OCR',
    text: 'Every image has an overview of 1024 x 1024 pixels, with 273 tokens (2: 257). One that is larger than a tile is stretched to the canvas of 2 to 9 tiles of 640 pixels (2: of 2 to 6 of 768) whose aspect is nearest, which stands before it. A tile has 100 tokens (2: 144), and in the first version one more stands after each line of a row of tiles. `auto` allows 4 tiles, `low` is the overview alone.',
  },
  {
    types: ['dots_ocr'],
    heading: 'dots.ocr',
    text: 'An image keeps its aspect, and each 28 x 28 pixels become one token. It is shrunk to at most 14,400 tokens, 1,024 at `auto` and 64 at `low`.',
  },
  {
    types: ['gemma3'],
    heading: 'Gemma 3',
    text: 'Every image is fitted into one square of 896 pixels, which has 64 x 64 patches; squares of 4 x 4 become one token. `detail` has no effect.',
  },
  {
    types: ['gemma3nv'],
    heading: 'Gemma 3n',
    text: 'Every image is fitted into one square of 768 pixels, of which 16 x 16 tokens are made. `detail` has no effect.',
  },
  {
    types: ['gemma4v', 'gemma4uv'],
    heading: 'Gemma 4',
    text: "An image keeps its aspect, and each 48 x 48 pixels become one token. The limits are budgets of the maker's processor: at most 1,120 tokens, its default of 280 at `auto`, and its least, 70, at `low`; a smaller image is enlarged to that. The processor itself fills the budget with every image; here and in llama.cpp an image of fewer tokens stays as it is.",
  },
  {
    types: ['glm4v'],
    heading: 'GLM-4.6V, GLM-OCR',
    text: 'An image keeps its aspect, and each 28 x 28 pixels become one token. It is shrunk to at most 4,096 tokens, 64 at `low`, and at `auto` 256, or 1,024 by GLM-OCR, which reads pages.',
  },
  {
    types: ['granite4_vision'],
    heading: 'Granite Vision 4.1',
    text: 'Every image has an overview of 384 x 384 pixels with 144 tokens. The canvas of tiles that keeps most of its pixels follows, read line by line as one image: 12 tokens for the width of a tile, without those of the padding, and one more after each line. `auto` allows canvases of 4 tiles, `low` is the overview alone.',
  },
  {
    types: ['hunyuanvl'],
    heading: 'HunyuanOCR',
    text: 'An image is stretched to whole squares of 32 x 32 pixels, which become one token each; one more follows each row, and one stands before and after the image. It has 256 to 4,096 squares, at most 1,024 at `auto` and 256 at `low`.',
  },
  {
    types: ['idefics3'],
    heading: 'SmolVLM, SmolVLM2, Granite Docling',
    text: 'An image, also a small one, is scaled until its longer edge is 4 tiles, and cut into tiles of 512 pixels with 64 tokens (2.2B: 384 pixels with 81). An overview that costs as much as a tile follows. `auto` does not cut an image that fits one tile, and cuts others into at most 2 x 2; `low` is the overview alone. Vision files made before mid-2025 do not say how far images are scaled: with those, `high` cuts an image as large as it is.',
  },
  {
    types: ['internvl'],
    heading: 'InternVL 2.5 and 3',
    text: 'Of all canvases of 1 to 12 tiles of 448 pixels, an image gets the one that keeps most of its pixels, the smallest of equals. A tile has 256 tokens, and so has the overview after the tiles. `auto` allows 4 tiles, `low` is the overview alone.',
  },
  {
    types: ['janus_pro'],
    heading: 'Janus-Pro',
    text: 'Every image is fitted into one square of 384 pixels, with one token for each 16 x 16 pixels. `detail` has no effect.',
  },
  {
    types: ['kimivl', 'kimik25'],
    heading: 'Kimi-VL, Kimi K2.5',
    text: 'An image keeps its aspect, and each 28 x 28 pixels become one token. It is shrunk to at most 1,024 tokens (K2.5: 4,096), 256 at `auto` and 64 at `low`.',
  },
  {
    types: ['lfm2'],
    heading: 'LFM2-VL',
    text: 'An image keeps its aspect, with one token for each 32 x 32 pixels, from 64 to 256 tokens. If it has more than twice the pixels of the largest such image, it is cut into 2 to 10 tiles of 512 pixels with 256 tokens, in the shape nearest to its aspect, and the image as a whole follows. `auto` allows 4 tiles, `low` is the whole alone.',
  },
  {
    types: ['lightonocr'],
    heading: 'LightOnOCR',
    text: 'An image, also a small one, is scaled until its longer edge is 1,540 pixels, and each 28 x 28 pixels become one token. `auto` allows 1,024 tokens, `low` 189.',
  },
  {
    types: ['llama4'],
    heading: 'Llama 4',
    text: 'Of all canvases of 2 to 9 tiles of 336 pixels, with at most 3 along an edge, an image gets the one that keeps most of its pixels. A tile has 144 tokens, and so has the overview after the tiles. `auto` allows 4 tiles, `low` is the overview alone.',
  },
  {
    types: ['mlp'],
    heading: 'LLaVA 1.5 and 1.6, Granite Vision',
    text: 'LLaVA 1.5 fits every image into one square of 336 pixels, with one token for each 14 x 14 pixels. LLaVA 1.6 and Granite Vision have a list of canvases in their files, of tiles of 336 pixels with 576 tokens and of 384 pixels with 729, and an overview follows the tiles. `auto` allows canvases of 4 tiles, `low` is the overview alone. There are no marks.',
  },
  {
    types: ['mimovl'],
    heading: 'MiMo-V2.5',
    text: 'An image keeps its aspect, and each 32 x 32 pixels become one token. The limits are those of the file; here they are those of Qwen2-VL. It is shrunk to at most 256 tokens at `auto` and 64 at `low`.',
  },
  {
    types: ['resampler', 'minicpmv4_6'],
    heading: 'MiniCPM-V',
    text: "An overview, and up to 9 slices of about 448 x 448 pixels in the image's own aspect, each with 64 tokens whatever its size; since 4.6 with one for each 56 x 56 pixels, or each 28 x 28 in its finer files. An image of at most 448 x 448 pixels has no slices. `auto` allows 4 slices, `low` is the overview alone.",
  },
  {
    types: ['minimax_m3'],
    heading: 'MiniMax M3',
    text: 'An image is stretched to whole squares of 28 x 28 pixels, which become one token each. It has at most 576 tokens, 256 at `auto` and 64 at `low`.',
  },
  {
    types: ['ldp', 'ldpv2'],
    heading: 'MobileVLM',
    text: 'Every image is fitted into one square of 336 pixels, and squares of 2 x 2 patches become one token. `detail` has no effect.',
  },
  {
    types: ['muse-glimmer'],
    heading: 'Muse Glimmer',
    text: 'An image is stretched to whole squares of 28 x 28 pixels, which become one token each. It has at most 4,096 tokens, 256 at `auto` and 64 at `low`.',
  },
  {
    types: ['nemotron_v2_vl'],
    heading: 'Nemotron Nano 2 VL',
    text: "Every image is fitted into one square of 512 pixels, and squares of 2 x 2 patches become one token. `detail` has no effect. The maker's processor cuts tiles; llama.cpp does not.",
  },
  {
    types: ['paddleocr'],
    heading: 'PaddleOCR-VL',
    text: 'An image keeps its aspect, and each 28 x 28 pixels become one token. It is enlarged to at least 188 tokens, and shrunk to at most 3,600, 1,024 at `auto` and 225 at `low`.',
  },
  {
    types: ['phi4'],
    heading: 'Phi-4 Reasoning Vision',
    text: 'An image keeps its aspect, and each 16 x 16 pixels become one token: at least 256, at most 3,600, 1,024 at `auto` and 256 at `low`.',
  },
  {
    types: ['pixtral'],
    heading: 'Pixtral, Mistral Small 3, Pocket',
    text: 'An image keeps its aspect. A token is 16 x 16 pixels in Pixtral, 28 x 28 in Mistral Small and 16 x 16 in Pocket, and each row but the last is followed by one more. Without those, an image has at most 1,024 tokens, 256 at `auto` and 64 at `low`; in Pocket 100, and 64 at `low`.',
  },
  {
    types: ['qwen2vl_merger', 'qwen2.5vl_merger', 'qwen2.5o', 'qwen3vl_merger', 'exaone4_5'],
    heading: 'Qwen-VL, EXAONE 4.5',
    text: "An image keeps its aspect, and each 28 x 28 pixels (Qwen3-VL: 32 x 32) become one token. It is shrunk to at most 4,096 tokens as in llama.cpp (EXAONE 4.5: those of its file), 256 at `auto` and 64 at `low`. Services with the maker's limit of 16,384 count more for images of more than 3.2 million pixels: Qwen2.5-VL has 4,641 for 2560 x 1440 there, and 10,549 for 3840 x 2160.",
  },
  {
    types: ['step3vl'],
    heading: 'Step3-VL',
    text: 'An image of more than 728 pixels, or of a long aspect, is scaled to whole slices of 504 pixels with 81 tokens and two marks each, and one more mark after each row but the last. An overview with 169 tokens follows. `auto` scales the longer edge to 2 slices, and leaves out the slices if there are more than 4; `low` is the overview alone.',
  },
  {
    types: ['youtuvl'],
    heading: 'Youtu-VL',
    text: 'An image is stretched to whole squares of 32 x 32 pixels, which become one token each. It is shrunk in steps of a fiftieth, to at most 62,500 tokens, 256 at `auto` and 64 at `low`.',
  },
]

const opened = Promise.all(knownModels.map(async (model) => ({ model, architecture: await model.open() })))

/** The text of docs/image-tokens.md. */
export async function imageTokensPage(): Promise<string> {
  const models = await opened
  const costs = models.map(({ model, architecture }) => [
    model.title,
    ...(
      [
        [1280, 720],
        [1240, 1754],
      ] as const
    ).flatMap(([width, height]) =>
      details.map((detail) => (tokensIn(architecture, width, height, detail) / 1000).toFixed(3)),
    ),
  ])
  const names = ['1280 x 720', '1240 x 1754'].flatMap((size) => details.map((detail) => `${size}, ${detail}`))
  return `${head}
${table(['model', ...names], costs)}
Sizes in the tables below: ${usualSizes.map(([width, height, what]) => `${width} x ${height} (${what})`).join(', ')}.
${sections
  .map(({ types, heading, text }) => {
    const rows = models
      .filter(({ model }) => model.types.some((type) => types.includes(type)))
      .flatMap(({ model, architecture }) =>
        details.map((detail) => [
          model.title,
          detail,
          ...usualSizes.map(([width, height]) => count(tokensIn(architecture, width, height, detail))),
        ]),
      )
    const sizes = usualSizes.map(([width, height]) => `${width} x ${height}`)
    return `
## ${heading}

${text} (${types.map((type) => `\`${type}\``).join(', ')})

${table(['model', '`detail`', ...sizes], rows)}`
  })
  .join('')}`
}

const count = (tokens: number): string => tokens.toLocaleString('en-US')

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, column) =>
    Math.max(...[heads, ...rows].map((row) => row[column]?.length ?? 0), head.length),
  )
  const line = (row: readonly string[]) => `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |\n`
  return [heads, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('')
}

const head = `# Image tokens

What an image costs in tokens, by model, size and \`detail\`. \`npm run tokens\` writes this page from the code that lays prompts out (\`src/encoders/families\`), and a test compares the two.

An image token takes as much of the context, of rate limits and of the price as a token of text. The number follows from the image's size and \`detail\` alone, and it is exact: what this page says is in \`prompt_tokens_details\` of the \`usage\` of an answer, in \`dry_run\` and in \`POST /v1/tokenize\` before it ([counting](api.md#counting-tokens)), and \`oriel show <model>\` says it for the files of a model that you have. Marks around the image and between its parts are included.

- Each selected page of a document and each selected frame of an animation is an image. A page of a PDF is drawn with 200 dots per inch, or with fewer if that is more than twice what the model can use: A4 has at most 1654 x 2339 pixels.
- An image more than twice as large as the model can use is shrunk to that before it is counted.
- Tokens that are in the prefix cache count the same; they are also in \`cached_tokens\`, and cost less ([prices](accounts.md#prices-and-budgets)).
- The sizes of tiles and patches, and the limits that depend on the file, are those of the makers' \`config.json\` and \`preprocessor_config.json\`, as llama.cpp's conversion writes them (\`test/encoders/image-tokens/models.ts\`); Pocket's are its own file's. Other files of the same family may have others: \`oriel show\` reads them.

## A thousand images

The cost of 1,000 images at a price of 1 for a million tokens. Multiply by your price. If prices have a least price for an image (\`image\` in [the configuration](accounts.md#prices-and-budgets)), the images of a request together never cost less than that for each, except for what is cached.
`
