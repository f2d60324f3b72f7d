import sample from '../../../../../examples/sample.png'
import { Icon } from '../../../ui/icon.tsx'
import { current } from '../state/conversations.ts'
import { addFiles, next } from '../state/draft.ts'
import { ask } from '../state/run.ts'

const questions = ['What is in this image?', 'What color is it?', 'What shape is it?']

async function addSample(): Promise<void> {
  const file = new File([await (await fetch(sample)).blob()], 'sample.png', { type: 'image/png' })
  await addFiles(next, [file])
}

/** A conversation before its first question. */
export function Welcome() {
  const pictures = next.pictures.value
  const canAsk = current.value.models.length > 0
  const askAbout = async (text: string): Promise<void> => {
    if (next.pictures.value.length === 0) await addSample()
    ask({ text, pictures: next.pictures.value })
    next.pictures.value = []
  }
  return (
    <div class="welcome">
      <div class="pane">
        <button
          type="button"
          class="sample"
          aria-label="Take the sample picture"
          disabled={pictures.length > 0}
          onClick={() => void addSample()}
        >
          <img src={sample} alt="A red circle" width="96" height="96" />
        </button>
        <div>
          <h1>Show it a picture</h1>
          <p class="dim">Drop, paste or pick one anywhere on this page, or take the sample.</p>
        </div>
      </div>
      <ul class="examples" aria-label="Example questions">
        {questions.map((question) => (
          <li key={question}>
            <button type="button" class="example" disabled={!canAsk} onClick={() => void askAbout(question)}>
              {question}
              <Icon name="right" />
            </button>
          </li>
        ))}
      </ul>
    </div>
  )
}
