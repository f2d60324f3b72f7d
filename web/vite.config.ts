import { defineConfig } from 'vite'

/** The pages that the server has at `/`. They load nothing from other hosts. */
export default defineConfig({
  root: import.meta.dirname,
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    target: 'es2022',
    // A style or an image in a data: URL would need a wider content security policy.
    assetsInlineLimit: 0,
    // The polyfill is an inline script, and browsers that have Trusted Types preload modules themselves.
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  logLevel: 'warn',
})
