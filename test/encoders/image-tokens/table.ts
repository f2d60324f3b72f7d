/** Writes docs/image-tokens.md: what images of usual sizes cost in each family. `npm run tokens` */
import { writeFileSync } from 'node:fs'
import { imageTokensPage } from './page.ts'

writeFileSync(new URL('../../../docs/image-tokens.md', import.meta.url), await imageTokensPage())
