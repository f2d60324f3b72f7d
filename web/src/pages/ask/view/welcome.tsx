import { useSignal } from '@preact/signals'
import { Icon } from '../../../ui/icon.tsx'
import { current } from '../state/conversations.ts'
import { addFiles, next, refused } from '../state/draft.ts'
import { exampleFile, exampleUrl, prepare, putAway, recipes } from '../state/recipes.ts'
import { ask } from '../state/run.ts'
import { focusComposer } from './composer.tsx'

/** What the sample can be asked, and any picture. */
const ofSample = ['What is in this image?', 'What color is the circle?', 'Where is the circle?']
const ofAny = ['What is in this image?', 'Describe this image in detail.', 'What does the text in this image say?']

const addSample = (): Promise<void> => orSayWhy(async () => addFiles(next, [await exampleFile('sample.png')]))

/** Where other files are refused: above the question. */
async function orSayWhy(add: () => Promise<void>): Promise<void> {
  refused.value = ''
  try {
    await add()
  } catch (error) {
    refused.value = error instanceof Error ? error.message : String(error)
  }
}

/** A conversation before its first question. */
export function Welcome() {
  const questions = next.pictures.value.every(({ name }) => name === 'sample.png') ? ofSample : ofAny
  // The first click asks: adding the sample takes a moment, in which there may be a second one.
  const isAsking = useSignal(false)
  const canAsk = current.value.models.length > 0 && !isAsking.value && next.arriving.value === 0
  const askAbout = async (text: string): Promise<void> => {
    isAsking.value = true
    if (next.pictures.value.length === 0) await addSample()
    isAsking.value = false
    // Why there is none stands above the question.
    if (next.pictures.value.length === 0) return
    ask({ text, pictures: next.pictures.value })
    next.pictures.value = []
    putAway()
  }
  return (
    <div class="welcome">
      <div class="pane">
        <button
          type="button"
          class="sample"
          aria-label="Take the sample picture"
          disabled={next.pictures.value.length > 0}
          onClick={() => void addSample().then(focusComposer)}
        >
          <img src={exampleUrl('sample.png')} alt="A red circle" width="96" height="96" />
        </button>
        <div>
          <h2>Show it a picture</h2>
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
      <section class="recipes" aria-labelledby="recipes">
        <h3 id="recipes">Recipes</h3>
        <ul>
          {recipes.map((recipe) => (
            <li key={recipe.id}>
              <button
                type="button"
                title={recipe.summary}
                onClick={() => void orSayWhy(() => prepare(recipe)).then(focusComposer)}
              >
                {recipe.title}
              </button>
            </li>
          ))}
        </ul>
      </section>
    </div>
  )
}
