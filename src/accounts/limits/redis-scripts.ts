import { createHash } from 'node:crypto'

/**
 * The windows of `windows.ts` in Redis, in Lua: what several servers count together, one round trip for a request.
 *
 * KEYS[1] is a hash with the amounts of the window (`<slot>:<kind>`), their sums (`t:<kind>`) and the newest slot; KEYS[2] is
 * a sorted set of running requests by the time at which their leases end. Redis's own clock is used, so that the clocks of
 * servers need not agree; a test gives another time as ARGV[1].
 */
const common = `
local given = tonumber(ARGV[1])
local now = given
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local kinds = tonumber(ARGV[2])
local window, leases = KEYS[1], KEYS[2]
-- Redis takes no -0.
local function text(number) return string.format('%.0f', number + 0) end
local function field(slot, kind) return text(slot) .. ':' .. kind end
local function add(slot, kind, amount)
  if amount == 0 then return end
  redis.call('HINCRBY', window, field(slot, kind), text(amount))
  redis.call('HINCRBY', window, 't:' .. kind, text(amount))
end

local slot = math.floor(now / 1000)
local newest = tonumber(redis.call('HGET', window, 'newest') or slot)
if newest > slot then slot = newest end
for old = newest - 60, math.min(newest, slot - 61) do
  for kind = 1, kinds do
    local amount = redis.call('HGET', window, field(old, kind))
    if amount then
      redis.call('HINCRBY', window, 't:' .. kind, text(-amount))
      redis.call('HDEL', window, field(old, kind))
    end
  end
end
redis.call('HSET', window, 'newest', text(slot))
`

const keep = `
redis.call('PEXPIRE', window, 62000)
redis.call('PEXPIRE', leases, 3600000)
`

/**
 * ARGV: time, number of kinds, name of the lease, its length in ms, requests at the same time, the limit of each kind, the
 * amount of each kind; a limit below 0 does not exist.
 * Returns: whether it is granted, the slot, the first kind that stands in the way (0: none, or the requests at the same time),
 * the wait in ms (below 0: it can never be granted), the sum of each kind.
 */
const take = `${common}
local lease, length, concurrent = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local blocked, wait = 0, 0
for kind = 1, kinds do
  local limit, amount = tonumber(ARGV[5 + kind]), tonumber(ARGV[5 + kinds + kind])
  local excess = tonumber(redis.call('HGET', window, 't:' .. kind) or 0) + amount - limit
  if limit >= 0 and amount > 0 and excess > 0 then
    if blocked == 0 then blocked = kind end
    local free = -1
    for old = slot - 60, slot do
      excess = excess - tonumber(redis.call('HGET', window, field(old, kind)) or 0)
      if excess <= 0 then
        free = (old + 61) * 1000 - now
        break
      end
    end
    if free < 0 or wait < 0 then wait = -1 else wait = math.max(wait, free) end
  end
end
local granted = blocked == 0
if granted and concurrent >= 0 then
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', text(now))
  granted = redis.call('ZCARD', leases) < concurrent
end
if granted then
  if concurrent >= 0 then redis.call('ZADD', leases, text(now + length), lease) end
  for kind = 1, kinds do add(slot, kind, tonumber(ARGV[5 + kinds + kind])) end
end
${keep}
local reply = { granted and 1 or 0, text(slot), blocked, text(wait) }
for kind = 1, kinds do reply[4 + kind] = redis.call('HGET', window, 't:' .. kind) or '0' end
return reply
`

/** ARGV: time, number of kinds, name of the lease, the slot of its amounts, what is unused of each kind, what is extra of each. */
const settle = `${common}
redis.call('ZREM', leases, ARGV[3])
local taken = tonumber(ARGV[4])
for kind = 1, kinds do
  add(slot, kind, tonumber(ARGV[4 + kinds + kind]))
  if taken >= slot - 60 and redis.call('HEXISTS', window, field(taken, kind)) == 1 then
    add(taken, kind, -tonumber(ARGV[4 + kind]))
  end
end
${keep}
return 1
`

/** A script, and the name under which Redis keeps it. */
export interface Script {
  readonly source: string
  readonly sha: string
}

const script = (source: string): Script => ({ source, sha: createHash('sha1').update(source).digest('hex') })

export const takeScript = script(take)
export const settleScript = script(settle)
