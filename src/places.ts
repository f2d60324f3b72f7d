/**
 * Where the files of Oriel are. Sources are in folders of `src/`, and compiled files are all directly in `dist/`: whatever
 * file of `dist/` has this code, the package's folder is above it.
 */
const here = import.meta.url

/** Whether the sources run, and not what is compiled of them. */
const isSource = here.endsWith('.ts')

/** A file of the package. @param file from its folder: `models/catalogue.json` */
export const packageFile = (file: string): URL => new URL(`../${file}`, here)

/**
 * A file that a child runs.
 * @param name of the source: `engine/process` is `src/engine/process.ts`, or `dist/engine-process.js`, as `scripts/build.js`
 * names it
 */
export const programFile = (name: string): URL =>
  packageFile(isSource ? `src/${name}.ts` : `dist/${name.replaceAll('/', '-')}.js`)
