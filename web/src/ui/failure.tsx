/** Why what a person asked for was not done; nothing while the text is empty. */
export const Failure = ({ text }: { text: string }) =>
  text === '' ? null : (
    <p class="note bad" role="alert">
      {text}
    </p>
  )
