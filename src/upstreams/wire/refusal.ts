import { OrielError } from '../../errors.ts'

/**
 * A part of an ask that an API of upstreams has no words for.
 * @param param the ask's name for it
 * @param what as in "cannot have …"
 */
export const notThere = (param: string, what: string): OrielError =>
  new OrielError('invalid', `This model's server has no ${what}. Leave it out, or use another model.`, {
    param,
    code: 'not_supported_upstream',
  })
