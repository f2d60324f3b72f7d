import { dataUrl } from './images.ts'

/** A line of a dataset: a question about a picture, and the answer. */
export const pictureExample = (picture: Buffer, question: string, answer: string) => ({
  messages: [
    {
      role: 'user',
      content: [
        { type: 'image_url', image_url: { url: dataUrl(picture) } },
        { type: 'text', text: question },
      ],
    },
    { role: 'assistant', content: answer },
  ],
})

/** A line of a dataset without a picture. */
export const textExample = (question: string, answer = 'yes') => ({
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ],
})

export const jsonl = (examples: readonly unknown[]): string =>
  examples.map((example) => `${JSON.stringify(example)}\n`).join('')
