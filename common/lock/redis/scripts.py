"""The Redis lock's scripts, each of which runs whole or not at all; `lock.py` shows how they work together.

A claim is known by its token. `lock-queue:<key>` lists the tokens that wait for a key, by the microsecond of their
arrival. `lock-waiter:<token>` holds that microsecond and all keys that the token waits for, and expires when its waiter
no longer asks.
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

_ACQUIRING: Final = (
    _QUEUES
    + """
local function publish(token, word)
  redis.call('PUBLISH', 'lock-wake:' .. (string.match(token, '^[^:]+') or ''), word .. ' ' .. token)
end

local function join_queues(token, keys, alive, holders)
  local record, arrived = redis.call('GET', 'lock-waiter:' .. token), nil
  if record then
    arrived = cmsgpack.unpack(record)[1]
  else
    local now = redis.call('TIME')
    arrived = now[1] .. string.format('%06d', tonumber(now[2]))
  end
  redis.call('SET', 'lock-waiter:' .. token, cmsgpack.pack({arrived, keys}), 'PX', alive)
  for _, key in ipairs(keys) do
    redis.call('ZADD', 'lock-queue:' .. key, arrived, token)
    redis.call('PEXPIRE', 'lock-queue:' .. key, 2 * alive)
  end
  for holder in pairs(holders) do
    publish(holder, 'contended')
  end
end

local function acquire(token, keys, hold, alive)
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
    join_queues(token, keys, alive, holders)
  end
  return behind and alive or look_again
end
"""
)

_RELEASING: Final = """
local function grant(waiter, hold)
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
  publish(waiter, 'granted')
  for _, key in ipairs(keys) do
    if first_waiter(key) then
      return publish(waiter, 'contended')
    end
  end
end

local function release(token, keys, hold)
  local held = 0
  for _, key in ipairs(keys) do
    if redis.call('GET', key) == token then
      held = held + redis.call('DEL', key)
    end
  end
  leave_queues(token, keys)
  local tried = {}
  for _, key in ipairs(keys) do
    local waiter = first_waiter(key)
    if waiter and not tried[waiter] then
      tried[waiter] = true
      grant(waiter, hold)
    end
  end
  return held
end
"""

ACQUIRE: Final = Script(
    _ACQUIRING
    + """
-- Acquire every key, or queue for all of them. Asking again with the same token is harmless, and shows life.
-- KEYS    the keys
-- ARGV    1 token  2 how long to hold them, ms  3 how long a waiter counts as alive, ms; 0: don't queue
-- result  -1: held now; otherwise: not held, look again after so many ms
return acquire(ARGV[1], KEYS, ARGV[2], tonumber(ARGV[3]))
"""
)

RELEASE: Final = Script(
    _ACQUIRING
    + _RELEASING
    + """
-- Release what a token holds, remove it from every queue, and grant each freed key to its next waiter.
-- KEYS    the keys
-- ARGV    1 token  2 how long the next holders hold what they are granted, ms
-- result  how many keys were still the token's
return release(ARGV[1], KEYS, ARGV[2])
"""
)

SWAP: Final = Script(
    _ACQUIRING
    + _RELEASING
    + """
-- RELEASE, then ACQUIRE.
-- KEYS    those to acquire, then those to release
-- ARGV    as for ACQUIRE, then 4 how many keys to acquire  5 token to release  6 as 2 of RELEASE
-- result  that of RELEASE, then that of ACQUIRE
local count, next_keys, last_keys = tonumber(ARGV[4]), {}, {}
for at, key in ipairs(KEYS) do
  table.insert(at <= count and next_keys or last_keys, key)
end
local held = release(ARGV[5], last_keys, ARGV[6])
return {held, acquire(ARGV[1], next_keys, ARGV[2], tonumber(ARGV[3]))}
"""
)

RENEW: Final = Script("""
-- Hold every key for longer, if all of them are still the token's.
-- KEYS    the keys
-- ARGV    1 token  2 how long to hold them from now on, ms
-- result  1: renewed; 0: at least one is no longer the token's, and none was renewed
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
