import { plainBackend } from './plain-backend.ts'
import { serveBackend } from './scripted.ts'
import { startServer } from './server.ts'

/** Backends that must pass the tests of the dialects: the built-in model in its engine, and one without tokens and pixels. */
export const backends = [
  {
    model: 'pocket',
    start: () => startServer(),
    greeting: 'Hello! Send me an image and ask about it.',
    oneImage: 'A red circle on a white background.',
    twoImages: 'The first image shows a red circle and the second image shows a blue square.',
    contextTokens: 4096,
  },
  {
    model: 'plain',
    start: () => serveBackend(plainBackend()),
    greeting: 'You asked "Hello" about 0 images with 0 tools.',
    oneImage: 'You asked "What is in this image?" about 1 images with 0 tools.',
    twoImages: 'You asked "Compare the two images." about 2 images with 0 tools.',
    contextTokens: 1000,
  },
]
