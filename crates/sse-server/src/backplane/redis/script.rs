//! What has to happen at one go, or where the answer would be too large: run by Redis itself.

use std::time::Duration;

/// A script, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Append,
    Read,
    Extent,
    PutDocument,
    Tend,
    Heal,
}

impl Script {
    pub(super) const ALL: [Self; 6] =
        [Self::Append, Self::Read, Self::Extent, Self::PutDocument, Self::Tend, Self::Heal];

    pub(super) fn text(self) -> String {
        let body = match self {
            Self::Append => APPEND,
            Self::Read => READ,
            Self::Extent => EXTENT,
            Self::PutDocument => PUT_DOCUMENT,
            Self::Tend => TEND,
            Self::Heal => HEAL,
        };
        format!("{COMMON}{body}")
    }
}

/// A number, which is no larger than Lua's are exact.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 53)
}

const COMMON: &str = r"
local function last_id(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  if info.err then
    if string.find(info.err, 'no such key') then return '0-0' end
    error(info.err)
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
local function number(id)
  local given = tonumber(string.match(id, '^0%-(%d+)$'))
  -- Where numbers here stop being exact, others must have counted.
  if given and given < 9007199254740992 then return given end
end
";

/// `KEYS`: the stream, and the key if there is one. `ARGV`: what to append, how many to keep, the id (empty: the next one, for
/// Redis 6, which cannot count), the fingerprint, how long to remember the key.
const APPEND: &str = r"
if KEYS[2] then
  local known = redis.call('GET', KEYS[2])
  if known then
    local at = string.sub(known, 17)
    local last = number(last_id(KEYS[1]))
    -- A key that has outlived its stream says nothing.
    if last and tonumber(at) <= last then
      if string.sub(known, 1, 16) ~= ARGV[4] then return 'reused' end
      return 'known ' .. at
    end
  end
end
local id = ARGV[3]
if id == '' then
  id = string.format('0-%.0f', (number(last_id(KEYS[1])) or 0) + 1)
end
local given = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], id, 'e', ARGV[1])
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[4] .. string.sub(given, 3), 'PX', ARGV[5])
end
return given
";

/// `ARGV`: behind which number, up to which, how many entries, how many bytes. Answers whether this is all of it, and then
/// ids and entries in turn.
const READ: &str = r"
local found, bytes, after, count = {0}, 0, ARGV[1], tonumber(ARGV[3])
while count > 0 do
  local step = math.min(count, 16)
  local part = redis.call('XRANGE', KEYS[1], '(0-' .. after, '0-' .. ARGV[2], 'COUNT', step)
  for _, entry in ipairs(part) do
    local fields = entry[2]
    local value = ''
    if #fields == 2 and fields[1] == 'e' then value = fields[2] end
    if bytes > 0 and bytes + #value > tonumber(ARGV[4]) then return found end
    bytes = bytes + #value
    found[#found + 1] = entry[1]
    found[#found + 1] = value
    after = string.sub(entry[1], 3)
  end
  if #part < step then
    found[1] = 1
    return found
  end
  count = count - step
end
return found
";

const EXTENT: &str = r"
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return {oldest[1] and oldest[1][1] or '', last_id(KEYS[1])}
";

/// `ARGV`: the document, and the one that it replaces, if any.
const PUT_DOCUMENT: &str = r"
if redis.call('GET', KEYS[1]) ~= (ARGV[2] or false) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
";

/// `ARGV`: the greatest age, the most bytes. As our ids tell no time, the last number is noted from time to time. Answers with the
/// last id, also where nothing may be written just now.
const TEND: &str = r"
local last = last_id(KEYS[1])
local at = number(last)
if not at or at == 0 then return last end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local age = tonumber(ARGV[1])
local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if not newest[1] or (newest[1] ~= string.sub(last, 3) and tonumber(newest[2]) <= now - age / 64) then
  redis.pcall('ZADD', KEYS[2], now, string.sub(last, 3))
end
local old = redis.call('ZREVRANGEBYSCORE', KEYS[2], string.format('%.0f', now - age), '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
if old[1] then
  redis.pcall('XTRIM', KEYS[1], 'MINID', string.format('0-%.0f', tonumber(old[1]) + 1))
  redis.pcall('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. old[2])
end
local used = redis.pcall('MEMORY', 'USAGE', KEYS[1])
if type(used) == 'number' and used > tonumber(ARGV[2]) then
  local kept = math.floor(redis.call('XLEN', KEYS[1]) * ARGV[2] / used)
  redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', string.format('%.0f', kept))
end
return last
";

/// Drops the entries whose ids are none of ours, and has the stream count on from where it was. Answers how many there were.
const HEAL: &str = r"
local dropped = 0
repeat
  local part = redis.call('XRANGE', KEYS[1], '0-9007199254740992', '+', 'COUNT', 64)
  for _, entry in ipairs(part) do
    dropped = dropped + redis.call('XDEL', KEYS[1], entry[1])
  end
until #part == 0
local last = 0
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if newest[1] then last = number(newest[1][1]) end
local mark = redis.call('ZREVRANGE', KEYS[2], 0, 0)
if mark[1] and tonumber(mark[1]) > last then last = tonumber(mark[1]) end
local id = string.format('0-%.0f', last)
-- Redis 6 does not know of the rest.
local set = redis.pcall('XSETID', KEYS[1], id, 'ENTRIESADDED', string.format('%.0f', last), 'MAXDELETEDID', '0-0')
if set.err then redis.call('XSETID', KEYS[1], id) end
return dropped
";
