-- Writes a record, or deletes it, unless it has changed meanwhile.
--
-- KEYS: the record. ARGV: the version that it must have, empty for none; the
-- new record, which begins with its version, or empty for none; and the time in
-- microseconds by Redis's clock after which nothing is written, or empty for
-- none. Returns 1 if the record is as wanted, 0 if it has changed, -1 if it is
-- too late. A client that lost the answer asks again: the version that it wrote
-- is written again, so that it can wait for the replicas, and what is gone counts
-- as deleted.
if ARGV[3] ~= '' then
	local time = redis.call('TIME')
	if time[1] * 1000000 + time[2] > tonumber(ARGV[3]) then
		return -1
	end
end
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version ~= ARGV[1] and version ~= string.sub(ARGV[2], 1, 8) then
	return 0
end
if ARGV[2] == '' then
	redis.call('DEL', KEYS[1])
else
	redis.call('SET', KEYS[1], ARGV[2])
end
return 1
