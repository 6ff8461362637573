-- Counts in sliding windows by Redis's own clock: each counter is a sorted set
-- of what was counted, by the time in microseconds. A client that lost the
-- answer asks again with the same name, and is not counted twice.
--
-- KEYS: the counters. ARGV: the name, then number and window, in microseconds,
-- of each. Returns the index, from 1, of the first counter that is full, or 0.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i, key in ipairs(KEYS) do
	redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[2 * i + 1])
	if redis.call('ZCARD', key) >= tonumber(ARGV[2 * i]) and not redis.call('ZSCORE', key, ARGV[1]) then
		return i
	end
end
for i, key in ipairs(KEYS) do
	redis.call('ZADD', key, now, ARGV[1])
	redis.call('PEXPIRE', key, math.ceil(ARGV[2 * i + 1] / 1000))
end
return 0
