-- One call of a node, carried out at once or not at all.
--
-- KEYS  1 the lease: token of who holds it, with its expiry
--       2 the latest tenure: fencing number and token; when the latest call was, and when the first
--         after a time in which the store stood still
--       3 the nodes: by name, a JSON object with the end of their presence
-- ARGV  token, name, what others are told of it, fingerprints of its keys, presence in ms,
--       what it wants (acquire, renew, look, leave), its fencing number, length of a lease in ms,
--       seconds that the store has to be up before it gives a lease, time in ms in which each node
--       calls twice at least
-- gives verdict, fencing number, 1 if the latest tenure before was the caller's, holder's token,
--       what is left of the lease in ms, what is told of each node
local token, name, node, keys = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local want, fence, lease = ARGV[6], ARGV[7], ARGV[8]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local nodes = {}
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
  local other = cjson.decode(all[i + 1])
  if other.ends <= now then
    redis.call('HDEL', KEYS[3], all[i])
  elseif all[i] ~= name then
    if other.keys ~= keys and want ~= 'leave' then
      return {'keys', '0', 0, '', 0, {other.node, other.keys}}
    end
    nodes[#nodes + 1] = other.node
  end
end
if want == 'leave' then
  redis.call('HDEL', KEYS[3], name)
else
  local present = {ends = now + tonumber(ARGV[5]), keys = keys, node = node}
  redis.call('HSET', KEYS[3], name, cjson.encode(present))
  nodes[#nodes + 1] = node
end

local held = redis.call('GET', KEYS[1])
local last = redis.call('HMGET', KEYS[2], 'fence', 'token', 'called', 'woke')
local last_fence = tonumber(last[1] or '0')
local verdict, unbroken = 'held', 0
local called, woke, twice = tonumber(last[3] or now), tonumber(last[4] or '0'), tonumber(ARGV[10])
if now - called > twice then
  woke = now
  redis.call('HSET', KEYS[2], 'woke', string.format('%.0f', now))
end
redis.call('HSET', KEYS[2], 'called', string.format('%.0f', now))
local function give(number)
  redis.call('SET', KEYS[1], token, 'PX', lease)
  redis.call('HSET', KEYS[2], 'fence', number, 'token', token)
end

if want == 'renew' then
  local mine = tonumber(fence)
  -- Forgotten, and nobody has had a later one.
  local forgotten = not held and (last_fence < mine or (last_fence == mine and last[2] == token))
  if held == token or forgotten then
    give(fence)
    verdict = 'renewed'
  end
elseif want == 'acquire' and (not held or held == token) then
  local up = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
  -- It stood still until just now, and no lease was renewed meanwhile: who held it comes first.
  local others_turn = last[2] and last[2] ~= token and now - woke < twice
  if tonumber(up or '0') < tonumber(ARGV[9]) or others_turn then
    verdict = 'early'
  else
    -- Never behind the store's clock, so that numbers go on growing when the store has lost its own.
    fence = string.format('%.0f', math.max(last_fence + 1, now))
    if last[2] == token then unbroken = 1 end
    give(fence)
    verdict = 'granted'
  end
elseif want == 'leave' and held == token then
  redis.call('DEL', KEYS[1])
  verdict = 'left'
end
return {verdict, fence, unbroken, redis.call('GET', KEYS[1]) or '', redis.call('PTTL', KEYS[1]), nodes}
