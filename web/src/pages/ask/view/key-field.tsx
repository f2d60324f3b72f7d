import { apiKey, keyWanted } from '../../../server/client.ts'
import { loadModels } from '../state/models.ts'

/** The key of this browser. It is kept here, and sent to this server only. */
export function KeyField() {
  return (
    <form
      class="key"
      onSubmit={(event) => {
        event.preventDefault()
        const typed = new FormData(event.currentTarget).get('key')
        apiKey.value = String(typed ?? '').trim()
        keyWanted.value = false
        void loadModels()
      }}
    >
      <label class="field">
        <span>API key</span>
        <input
          class="input mono"
          name="key"
          type="password"
          autocomplete="off"
          placeholder={keyWanted.value ? 'sk-…' : 'none'}
          defaultValue={apiKey.value}
        />
      </label>
      <button type="submit" class="button">
        Use it
      </button>
      <p class="small dim">It stays in this browser and goes to this server only.</p>
    </form>
  )
}
