import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { init, type WrappedPdfiumModule } from '@embedpdf/pdfium'
import { OrielError } from '../../errors.ts'
import type { OpenFile, Raster } from './opened-file.ts'
import type { Size } from './protocol.ts'
import { finishRaster } from './raster.ts'

/** The pages of a PDF with annotations and filled forms, rendered by PDFium in WebAssembly. */
export const openPdf: OpenFile = async (bytes) => {
  loading ??= load()
  const pdfium = await loading
  const memory = allocate(pdfium, bytes)
  const document = pdfium.FPDF_LoadMemDocument(memory.address, bytes.length, '')
  if (document === 0) {
    const code = pdfium.FPDF_GetLastError()
    memory.free()
    throw code === passwordError ? passwordNeeded() : new Error(`pdf: error ${code}`)
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

/** Constants of fpdfview.h. */
const passwordError = 4
const drawAnnotations = 0x01
const redFirst = 0x10
const fourBytes = 4
const white = 0xffffffff

/** A higher resolution shows no more detail of a page. */
const maxDotsPerInch = 200

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

/** Read each time, because growing memory replaces it. The package's types omit it. */
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

/** The size of a page in points (1/72 inch), without loading the page. */
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

/** Twice what the model can use, up to `maxDotsPerInch`. */
function pixelsOf({ width, height }: Size, longestEdge: number): Size {
  if (!(width > 0 && height > 0)) throw new Error('pdf: a page has no size')
  const scale = Math.min(maxDotsPerInch / 72, (2 * longestEdge) / Math.max(width, height))
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

const passwordNeeded = (): OrielError =>
  new OrielError('unreadable_media', 'The PDF is protected by a password. Send a copy without a password.', {
    code: 'pdf_password',
  })
