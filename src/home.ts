import { homedir } from 'node:os'

/** The person's folder. A user whom the machine does not know has none; containers call it the root then, as is done here. */
export function home(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}
