import './keys.css'
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { apiKey } from '../../server/client.ts'
import { hasNoKeys, type KeyWithSecret, keys, keysError, readKeys } from '../../server/keys.ts'
import { announce } from '../../ui/announce.tsx'
import { CopyButton } from '../../ui/copy.tsx'
import { Icon } from '../../ui/icon.tsx'
import { KeyField, Refused } from '../../ui/refused.tsx'
import { Accounts } from './accounts.tsx'
import { KeyTable } from './key-table.tsx'
import { NewKeyDialog } from './new-key.tsx'
import { SecretDialog } from './secret.tsx'

/** Keys and accounts: who may ask, how much, until when. */
export default function Page() {
  const attempt = useSignal(0)
  const making = useSignal(false)
  const made = useSignal<KeyWithSecret | undefined>(undefined)
  useEffect(() => {
    void readKeys()
  }, [attempt.value, apiKey.value])
  const again = (): void => {
    attempt.value++
  }
  const error = keysError.value
  const isOpen = hasNoKeys.value && error === undefined
  const isKnown = keys.value !== undefined && error === undefined
  const isWaiting = !isKnown && !isOpen && error === undefined
  return (
    <div class="page keys">
      <header>
        <h1>Keys</h1>
        {isKnown && (
          <button
            type="button"
            class="button primary"
            onClick={() => {
              making.value = true
            }}
          >
            <Icon name="add" />
            New key
          </button>
        )}
      </header>
      {isOpen && <NoKeys again={again} />}
      {error !== undefined && <Refused error={error} again={again} />}
      {isWaiting && <div class="card waiting" aria-busy="true" />}
      {isKnown && (
        <>
          <KeyTable
            keys={keys.value ?? []}
            onSecret={(secret) => {
              made.value = secret
            }}
          />
          <Accounts />
        </>
      )}
      {isWaiting || apiKey.value === '' ? null : <OwnKey />}
      {making.value ? (
        <NewKeyDialog
          onMade={(secret) => {
            making.value = false
            made.value = secret
            void readKeys()
          }}
          onClose={() => {
            making.value = false
          }}
        />
      ) : null}
      {made.value === undefined ? null : (
        <SecretDialog
          made={made.value}
          onClose={() => {
            made.value = undefined
          }}
        />
      )}
    </div>
  )
}

const command = 'oriel keys create --admin'

/** A server without keys lets nobody make one over HTTP: whoever is first could lock its owner out. */
const NoKeys = ({ again }: { again: () => void }) => (
  <div class="first card">
    <h2>This server has no keys</h2>
    <p>
      Anybody who can reach it may use it. The first key is made in a terminal of its machine. It may administer the
      server, and make further keys on this page.
    </p>
    <div class="secret">
      <code>{command}</code>
      <CopyButton text={command} what="the command" />
    </div>
    <p class="dim">From then on every request needs a key. Give yours to this page:</p>
    <KeyField again={again} />
  </div>
)

/** The key that these pages use, which this browser can forget. */
const OwnKey = () => (
  <section>
    <h2>In this browser</h2>
    <p>
      These pages use the key <code>{apiKey.value.slice(0, 10)}…</code>, which stays in this browser.{' '}
      <button
        type="button"
        class="button"
        onClick={() => {
          apiKey.value = ''
          announce('This browser has no key now.')
        }}
      >
        Forget it
      </button>
    </p>
  </section>
)
