import { isFull, noSpace } from '../../disk.ts'
import { OrielError } from '../../errors.ts'
import { joined, plannedSteps } from './schedule.ts'
import { Session } from './session.ts'
import { Training, type TrainOptions } from './training.ts'

/** Cells that are computed together, where examples are shorter. More need more memory and are not faster. */
const cellsTogether = 512

/**
 * Trains an adapter and writes it to `output/`. With a checkpoint of the same training in the folder it goes on from there.
 * If the signal does not stop it, its last line is `done`.
 * @throws OrielError `invalid` for a model or an example that cannot be trained and for training that diverges,
 * `precondition_failed` if it needs more memory than it may take, or more space than the disk has
 */
export async function train(options: TrainOptions): Promise<void> {
  const { config, sequences, evaluation, counts, onLine, decoder } = options
  const { lengths } = sequences
  if (lengths.length === 0)
    throw new OrielError('invalid', 'No example has anything to learn.', { code: 'no_examples' })
  const steps = plannedSteps(lengths, config).map(({ sequences, epoch }) => ({
    runs: joined(sequences, lengths, cellsTogether),
    epoch,
  }))
  const evaluated = evaluation === null ? [] : joined([...evaluation.lengths.keys()], evaluation.lengths, cellsTogether)
  const cells = Math.max(
    largestOf(
      steps.flatMap(({ runs }) => runs),
      lengths,
    ),
    largestOf(evaluated, evaluation?.lengths ?? lengths),
  )
  const session = await Session.open({
    ...{ ...config, decoder, cells },
    projector: config.trainProjector ? config.base.projector : null,
  })
  try {
    onLine({ type: 'examples', ...counts, steps: steps.length, memoryBytes: session.memoryBytes })
    const training = new Training(options, session, steps, evaluated)
    await training.begin()
    if (!(await training.run())) return
    onLine({ type: 'phase', phase: 'writing', share: 0 })
    await training.write()
    onLine({ type: 'phase', phase: 'writing', share: 1 })
    onLine(training.end())
  } catch (error) {
    throw isFull(error) ? noSpace('The checkpoint and the adapter of a job fill it.') : error
  } finally {
    session.close()
  }
}

/** Cells of the largest run. */
function largestOf(runs: readonly (readonly number[])[], lengths: Int32Array): number {
  let largest = 0
  for (const run of runs)
    largest = Math.max(
      largest,
      run.reduce((sum, index) => sum + (lengths[index] ?? 0), 0),
    )
  return largest
}
