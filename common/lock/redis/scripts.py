"""What the Redis lock does inside Redis, each step whole or not at all; `redis.py` tells the story.

A waiter is its token. `lock-queue:<key>` has those that wait for a key, by the microsecond at which each came;
`lock-waiter:<token>` has that microsecond and all keys that it waits for, and is gone when it shows no life.
"""

from typing import Final

from common.redis.pool import Script

_QUEUES: Final = """
local function first_waiter(key)
  local queue = 'lock-queue:' .. key
  while true do
    local first = redis.call('ZRANGE', queue, 0, 0)[1]
    if not first or redis.call('EXISTS', 'lock-waiter:' .. first) == 1 then
      return first
    end
    redis.call('ZREM', queue, first)
  end
end

local function leave_queues(waiter, keys)
  if redis.call('DEL', 'lock-waiter:' .. waiter) == 1 then
    for _, key in ipairs(keys) do
      redis.call('ZREM', 'lock-queue:' .. key, waiter)
    end
  end
end
"""

_TAKE: Final = (
    _QUEUES
    + """
local function tell(token, word)
  redis.call('PUBLISH', 'lock-wake:' .. (string.match(token, '^[^:]+') or ''), word .. ' ' .. token)
end

local function stand_in_line(token, keys, alive, holders)
  local record, came = redis.call('GET', 'lock-waiter:' .. token), nil
  if record then
    came = cmsgpack.unpack(record)[1]
  else
    local now = redis.call('TIME')
    came = now[1] .. string.format('%06d', tonumber(now[2]))
  end
  redis.call('SET', 'lock-waiter:' .. token, cmsgpack.pack({came, keys}), 'PX', alive)
  for _, key in ipairs(keys) do
    redis.call('ZADD', 'lock-queue:' .. key, came, token)
    redis.call('PEXPIRE', 'lock-queue:' .. key, 2 * alive)
  end
  for holder in pairs(holders) do
    tell(holder, 'wanted')
  end
end

local function take(token, keys, hold, alive)
  local mine, behind, holders, look_again = 0, false, {}, 0
  for _, key in ipairs(keys) do
    local holder = redis.call('GET', key)
    if holder == token then
      mine = mine + 1
    else
      if holder then
        local left = redis.call('PTTL', key)
        holders[holder], look_again = true, math.max(look_again, left < 0 and alive or left + 1)
      end
      local first = first_waiter(key)
      behind = behind or (first and first ~= token)
    end
  end
  if mine == #keys or not (next(holders) or behind) then
    for _, key in ipairs(keys) do
      redis.call('SET', key, token, 'PX', hold)
    end
    leave_queues(token, keys)
    return -1
  end
  if alive > 0 then
    stand_in_line(token, keys, alive, holders)
  end
  return behind and alive or look_again
end
"""
)

_GIVE_BACK: Final = """
local function hand_over(waiter, hold)
  local keys = cmsgpack.unpack(redis.call('GET', 'lock-waiter:' .. waiter))[2]
  for _, key in ipairs(keys) do
    if redis.call('EXISTS', key) == 1 or first_waiter(key) ~= waiter then
      return
    end
  end
  for _, key in ipairs(keys) do
    redis.call('SET', key, waiter, 'PX', hold)
  end
  leave_queues(waiter, keys)
  tell(waiter, 'handed')
  for _, key in ipairs(keys) do
    if first_waiter(key) then
      return tell(waiter, 'wanted')
    end
  end
end

local function give_back(token, keys, hold)
  local held = 0
  for _, key in ipairs(keys) do
    if redis.call('GET', key) == token then
      held = held + redis.call('DEL', key)
    end
  end
  leave_queues(token, keys)
  local asked = {}
  for _, key in ipairs(keys) do
    local waiter = first_waiter(key)
    if waiter and not asked[waiter] then
      asked[waiter] = true
      hand_over(waiter, hold)
    end
  end
  return held
end
"""

ACQUIRE: Final = Script(
    _TAKE
    + """
-- Take every key, or stand in line for all of them. Asking again with the same token is harmless, and shows life.
-- KEYS    the keys
-- ARGV    1 token  2 how long to hold them, ms  3 how long a waiter counts as alive, ms; 0: don't stand in line
-- result  -1: held now; otherwise: not held, and look again after so many ms
return take(ARGV[1], KEYS, ARGV[2], tonumber(ARGV[3]))
"""
)

RELEASE: Final = Script(
    _TAKE
    + _GIVE_BACK
    + """
-- Give back what a token holds, take it out of every line, and hand each freed key on.
-- KEYS    the keys
-- ARGV    1 token  2 how long those hold them who are handed them, ms
-- result  how many keys were still the token's
return give_back(ARGV[1], KEYS, ARGV[2])
"""
)

SWAP: Final = Script(
    _TAKE
    + _GIVE_BACK
    + """
-- RELEASE, then ACQUIRE.
-- KEYS    those to take, then those to give back
-- ARGV    as for ACQUIRE, then 4 how many keys to take  5 token to give back  6 as for RELEASE
-- result  that of RELEASE, that of ACQUIRE
local count, next_keys, last_keys = tonumber(ARGV[4]), {}, {}
for at, key in ipairs(KEYS) do
  table.insert(at <= count and next_keys or last_keys, key)
end
local held = give_back(ARGV[5], last_keys, ARGV[6])
return {held, take(ARGV[1], next_keys, ARGV[2], tonumber(ARGV[3]))}
"""
)

RENEW: Final = Script("""
-- Hold on to every key, if all of them are still the token's.
-- KEYS    the keys
-- ARGV    1 token  2 how long to hold them from now on, ms
-- result  1: they are; 0: at least one is not, and none was renewed
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) ~= ARGV[1] then
    return 0
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[2])
end
return 1
""")
