/**
 * A JSON Schema of 25 keys, as those who read forms and labels have them. Every value is bounded: with random weights an
 * open text would never end, and a closed one refuses most of the tokens that such a model samples.
 */
const kinds = [
  { enum: ['letter', 'small parcel', 'large parcel', 'pallet', 'container'] },
  { type: 'string', maxLength: 16 },
  { type: 'boolean' },
  { type: 'integer', minimum: 0, maximum: 99999 },
  { type: 'string', pattern: '^[A-Z]{2}[0-9]{9}[A-Z]{2}$' },
  { type: 'array', items: { enum: ['fragile', 'heavy', 'cold', 'this way up'] }, minItems: 1, maxItems: 3 },
  { type: 'string', format: 'date' },
]

const keys = [
  ...['kind', 'sender', 'insured', 'weight', 'number', 'labels', 'sent'],
  ...['class', 'receiver', 'signed', 'length', 'customs', 'marks', 'due'],
  ...['packing', 'street', 'returned', 'width', 'invoice', 'risks', 'seen'],
  ...['vehicle', 'city', 'damaged', 'height'],
]

export const parcel = {
  type: 'object',
  properties: Object.fromEntries(keys.map((key, at) => [key, kinds[at % kinds.length]])),
  required: keys,
  additionalProperties: false,
}
