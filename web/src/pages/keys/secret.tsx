import type { KeyWithSecret } from '../../server/keys.ts'
import { CopyButton } from '../../ui/copy.tsx'
import { Dialog } from '../../ui/dialog.tsx'

/** Shows the secret of a new key, for the only time. */
export const SecretDialog = ({ made, onClose }: { made: KeyWithSecret; onClose: () => void }) => (
  <Dialog title="Copy the key now" onClose={onClose}>
    <p>This is the only time that it is shown. The server keeps a hash of it, from which nobody can make it again.</p>
    <div class="secret">
      <code>{made.secret}</code>
      <CopyButton text={made.secret} what="the key" />
    </div>
    <p class="dim small">
      Clients send it as <code>Authorization: Bearer …</code>. From now on every request to this server needs a key.
    </p>
    <p class="dialog-actions">
      <button type="button" class="button primary" onClick={onClose}>
        Done
      </button>
    </p>
  </Dialog>
)
