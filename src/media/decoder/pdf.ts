import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { init, type WrappedPdfiumModule } from '@embedpdf/pdfium'
import { OrielError } from '../../errors.ts'
import type { OpenFile, Raster } from './opened-file.ts'
import type { Size } from './protocol.ts'
import { finishRaster } from './raster.ts'

/** A PDF's pages as a reader sees them on paper, with annotations and filled forms, by PDFium in WebAssembly. */
export const openPdf: OpenFile = async (bytes) => {
  loading ??= load()
  const pdfium = await loading
  const memory = allocate(pdfium, bytes)
  const document = pdfium.FPDF_LoadMemDocument(memory.address, bytes.length, '')
  if (document === 0) {
    const code = pdfium.FPDF_GetLastError()
    memory.free()
    throw code === passwordError ? protectedFile() : new Error(`pdf: error ${code}`)
  }
  const formInfo = pdfium.PDFiumExt_OpenFormFillInfo()
  const form = pdfium.PDFiumExt_InitFormFillEnvironment(document, formInfo)
  const pages = pdfium.FPDF_GetPageCount(document)
  if (pages < 1) throw new Error('pdf: no pages')
  return {
    pages,
    noun: 'page',
    byDefault: 'all',
    size: async (page, longestEdge) => pixelsOf(pointsOf(pdfium, document, page), longestEdge),
    async *render(chosen, longestEdge) {
      for (const page of chosen) {
        const raster = renderPage(pdfium, document, form, page, longestEdge)
        const { width, height } = raster
        yield { ...(await finishRaster(raster, longestEdge)), page, original: { width, height } }
      }
    },
    close() {
      pdfium.PDFiumExt_ExitFormFillEnvironment(form)
      pdfium.PDFiumExt_CloseFormFillInfo(formInfo)
      pdfium.FPDF_CloseDocument(document)
      memory.free()
    },
  }
}

/** Of fpdfview.h: errors, flags and formats. */
const passwordError = 4
const drawAnnotations = 0x01
const redFirst = 0x10
const fourBytes = 4
const white = 0xffffffff

/** Points are 1/72 inch. A finer picture of a page shows no more of it. */
const mostDotsPerInch = 200

let loading: Promise<WrappedPdfiumModule> | undefined

async function load(): Promise<WrappedPdfiumModule> {
  const file = await readFile(createRequire(import.meta.url).resolve('@embedpdf/pdfium/pdfium.wasm'))
  const pdfium = await init({ wasmBinary: new Uint8Array(file).buffer })
  pdfium.PDFiumExt_Init()
  return pdfium
}

function allocate(pdfium: WrappedPdfiumModule, bytes: Buffer): { address: number; free(): void } {
  const address = pdfium.pdfium.wasmExports.malloc(bytes.length)
  if (address === 0) throw new Error('pdf: no memory')
  heap(pdfium).set(bytes, address)
  return { address, free: () => pdfium.pdfium.wasmExports.free(address) }
}

/** Asked for anew each time: it is another one when the memory has grown. The package leaves it out of its types. */
const heap = ({ pdfium }: WrappedPdfiumModule): Uint8Array => (pdfium as unknown as { HEAPU8: Uint8Array }).HEAPU8

function renderPage(
  pdfium: WrappedPdfiumModule,
  document: number,
  form: number,
  index: number,
  longestEdge: number,
): Raster {
  const page = pdfium.FPDF_LoadPage(document, index)
  if (page === 0) throw new Error(`pdf: page ${index} cannot be loaded`)
  const { width, height } = pixelsOf(pointsOf(pdfium, document, index), longestEdge)
  const bitmap = pdfium.FPDFBitmap_CreateEx(width, height, fourBytes, 0, 0)
  try {
    if (bitmap === 0) throw new Error('pdf: no memory')
    const flags = drawAnnotations | redFirst
    pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, white)
    pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, flags)
    pdfium.FPDF_FFLDraw(form, bitmap, page, 0, 0, width, height, 0, flags)
    const start = pdfium.FPDFBitmap_GetBuffer(bitmap)
    return { width, height, channels: 4, data: heap(pdfium).slice(start, start + width * height * 4) }
  } finally {
    if (bitmap !== 0) pdfium.FPDFBitmap_Destroy(bitmap)
    pdfium.FPDF_ClosePage(page)
  }
}

/** Without loading the page, which may cost something. */
function pointsOf(pdfium: WrappedPdfiumModule, document: number, index: number): Size {
  const { malloc, free } = pdfium.pdfium.wasmExports
  const pair = malloc(8)
  try {
    if (!pdfium.FPDF_GetPageSizeByIndexF(document, index, pair)) throw new Error(`pdf: page ${index} has no size`)
    const bytes = heap(pdfium)
    const [width = 0, height = 0] = new Float32Array(bytes.buffer, pair, 2)
    return { width, height }
  } finally {
    free(pair)
  }
}

/** As many pixels as the model can use, or as a page is worth. */
function pixelsOf({ width, height }: Size, longestEdge: number): Size {
  if (!(width > 0 && height > 0)) throw new Error('pdf: a page without a size')
  const scale = Math.min(mostDotsPerInch / 72, (2 * longestEdge) / Math.max(width, height))
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

const protectedFile = (): OrielError =>
  new OrielError(
    'unreadable_media',
    'The PDF is protected by a password, so its pages cannot be read. Send a copy without one.',
    { code: 'pdf_password' },
  )
