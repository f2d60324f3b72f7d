import { computed, signal } from '@preact/signals'
import { listing, type Model } from '../../server/models.ts'

export const search = signal('')
export const fitting = signal(false)
export const features = signal<ReadonlySet<Feature>>(new Set())
export const largest = signal<number | undefined>(undefined)
export const licence = signal('')

/** What a model can do besides reading text. */
export const allFeatures = { vision: 'Reads pictures', tools: 'Calls tools', thoughts: 'Thinks first' } as const
export type Feature = keyof typeof allFeatures

const has: Record<Feature, (model: Model) => boolean> = {
  vision: ({ inputs }) => inputs.includes('image'),
  tools: ({ tools }) => tools === true,
  thoughts: ({ thoughts }) => thoughts === true,
}

/** The sizes of files that are told apart, in bytes. */
export const sizes = [1e9, 4e9, 10e9] as const

export const licences = computed(() =>
  [...new Set((listing.value?.models ?? []).flatMap(({ licence }) => licence ?? []))].toSorted(),
)

const isWanted = (model: Model): boolean => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean)
  const text = [model.id, model.title, model.description, model.vision?.family, model.licence].join(' ').toLowerCase()
  return (
    words.every((word) => text.includes(word)) &&
    (!fitting.value || model.fits === true) &&
    [...features.value].every((feature) => has[feature](model)) &&
    (largest.value === undefined || model.bytes <= largest.value) &&
    (licence.value === '' || model.licence === licence.value)
  )
}

const wanted = computed(() => (listing.value?.models ?? []).filter(isWanted))
export const here = computed(() => wanted.value.filter(({ state }) => state !== 'not_pulled'))
export const elsewhere = computed(() => wanted.value.filter(({ state }) => state === 'not_pulled'))

export const isFiltered = computed(
  () =>
    search.value !== '' ||
    fitting.value ||
    features.value.size > 0 ||
    largest.value !== undefined ||
    licence.value !== '',
)

export function showAll(): void {
  search.value = ''
  fitting.value = false
  features.value = new Set()
  largest.value = undefined
  licence.value = ''
}

export function toggle(feature: Feature): void {
  const now = new Set(features.value)
  if (!now.delete(feature)) now.add(feature)
  features.value = now
}
