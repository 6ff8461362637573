-- Writes a record, or deletes it, unless it has changed meanwhile.
--
-- KEYS: the record. ARGV: the version that it must have, empty for none, and
-- the new record, which begins with its version, or empty for none. Returns 1
-- if the record is as wanted. A client that lost the answer asks again, and
-- finds the version that it wrote.
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if ARGV[2] ~= '' and version == string.sub(ARGV[2], 1, 8) then
	return 1
end
if version ~= ARGV[1] then
	return 0
end
if ARGV[2] == '' then
	redis.call('DEL', KEYS[1])
else
	redis.call('SET', KEYS[1], ARGV[2])
end
return 1
