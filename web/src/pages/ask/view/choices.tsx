interface ChoicesProps<Choice extends string> {
  /** What is chosen, for screen readers. */
  legend: string
  /** Of the group of inputs, once in a page. */
  name: string
  all: readonly Choice[]
  chosen: Choice
  onChoose: (choice: Choice) => void
}

/** A few words in a row, of which one is chosen. */
export const Choices = <Choice extends string>({ legend, name, all, chosen, onChoose }: ChoicesProps<Choice>) => (
  <fieldset class="choices">
    <legend class="hidden-text">{legend}</legend>
    {all.map((one) => (
      <label key={one}>
        <input type="radio" name={name} checked={one === chosen} onChange={() => onChoose(one)} />
        {one}
      </label>
    ))}
  </fieldset>
)
