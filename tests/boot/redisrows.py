# SPDX-License-Identifier: MIT
"""What Redis's own tests expect of it, in rows of ours: a command, =>, the answer. Each group begins with no keys.

Words are as in a shell, with Python's escapes; an answer is a Python value (text for a string of either kind), nil, or an
error's first words behind a minus; ~ before a list says that it has no order."""

GROUPS = r"""
# strings
SET x foobar => "OK"
GET x => "foobar"
SET x "" => "OK"
GET x => ""
SETNX novar foobared => 1
SETNX novar other => 0
MSET a 1 b 2 x 3 => "OK"
MSETNX a1 xxx x yyy => 0
EXISTS a1 => 0
MGET a b nokey x => ["1", "2", nil, "3"]
GETSET foo xyz => nil
GETSET foo bar => "xyz"
GETDEL foo => "bar"
GETDEL foo => nil
SET foo bar XX => nil
SET foo 1 NX GET => nil
SET foo 2 XX GET => "1"
LPUSH l a => 1
SET l x GET => -WRONGTYPE
SET foo bar NX XX => -ERR syntax error
SET foo bar EX 10 PX 10 => -ERR syntax error
SET foo bar EX 0 => -ERR invalid expire time in 'set' command
SETEX z -10 foo => -ERR invalid expire time in 'setex' command
SETRANGE new 0 foo => 3
SETRANGE new 1 "" => 3
SETRANGE none 0 "" => 0
EXISTS none => 0
SETRANGE none 3 foo => 6
GET none => "\x00\x00\x00foo"
SETRANGE new -1 x => -ERR offset is out of range
SETRANGE new 536870910 long => -ERR string exceeds maximum allowed size
SET s "Hello World" => "OK"
GETRANGE s 0 3 => "Hell"
GETRANGE s -4 -1 => "orld"
GETRANGE s 5 3 => ""
GETRANGE s -5000 10000 => "Hello World"
STRLEN nokey => 0
APPEND s ! => 12
LCS s new => "oo"
SET k1 rumoured => "OK"
SET k2 murmured => "OK"
LCS k1 k2 LEN => 6
LCS k1 k2 => "umured"

# numbers
INCR n => 1
SET n 17179869184 => "OK"
INCRBY n 17179869184 => 34359738368
SET n "    11" => "OK"
INCR n => -ERR value is not an integer or out of range
SET n 9223372036854775807 => "OK"
INCR n => -ERR increment or decrement would overflow
SET n -9223372036854775808 => "OK"
DECRBY n 1 => -ERR increment or decrement would overflow
DECRBY n -9223372036854775808 => -ERR decrement would overflow
RPUSH l 1 => 1
INCR l => -WRONGTYPE
INCRBYFLOAT f 1 => "1"
INCRBYFLOAT f 0.25 => "1.25"
INCRBYFLOAT f 1.5e1 => "16.25"
INCRBYFLOAT f -17 => "-0.75"
SET f 17179869184 => "OK"
INCRBYFLOAT f 17179869184.5 => "34359738368.5"
SET f abc => "OK"
INCRBYFLOAT f 1 => -ERR value is not a valid float
SET f 1 => "OK"
INCRBYFLOAT f +inf => -ERR increment would produce NaN or Infinity

# bits
SETBIT b 6 1 => 0
SETBIT b 6 0 => 1
SETBIT b 4294967296 1 => -ERR bit offset is not an integer or out of range
SETBIT b 0 2 => -ERR bit is not an integer or out of range
GETBIT b 100 => 0
SET b foobar => "OK"
BITCOUNT b => 26
BITCOUNT b 0 0 => 4
BITCOUNT b 5 30 BIT => 17
BITCOUNT b -2 -5 => 0
SET b "\xff\xf0\x00" => "OK"
BITPOS b 0 => 12
BITPOS b 0 2 -1 => 16
BITPOS b 1 2 -1 => -1
SET b "\xff\xff\xff" => "OK"
BITPOS b 0 => 24
BITPOS b 0 0 -1 => -1
BITPOS nokey 0 => 0
SET b1 "\xaa\x00\xff\x55" => "OK"
BITOP NOT d b1 => 4
GET d => "U\xff\x00\xaa"
SET b2 "\x01\x02" => "OK"
BITOP AND d b1 b2 => 4
GET d => "\x00\x00\x00\x00"
BITOP OR d b1 b2 nokey => 4
GET d => "\xab\x02\xff\x55"
BITOP XOR d nokey nokey => 0
EXISTS d => 0
BITFIELD f SET u8 0 255 GET u8 0 => [0, 255]
BITFIELD f INCRBY u8 0 100 => [99]
BITFIELD f OVERFLOW SAT SET u8 0 300 INCRBY i8 #1 127 INCRBY i8 #1 10 => [99, 127, 127]
BITFIELD f OVERFLOW FAIL INCRBY u8 0 1 GET u8 0 => [nil, 255]
BITFIELD f SET i8 0 -100 GET i8 0 => [-1, -100]
BITFIELD f GET u64 0 => -ERR Invalid bitfield type
BITFIELD_RO f SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand

# lists
LPUSH l a b c => 3
RPUSH l d => 4
LRANGE l 0 -1 => ["c", "b", "a", "d"]
LPUSHX none x => 0
LINSERT l BEFORE a yy => 5
LINSERT l AFTER zz x => -1
LINSERT l NEAR a x => -ERR syntax error
LINDEX l -1 => "d"
LINDEX l 10 => nil
LSET l 10 x => -ERR index out of range
LSET nokey 0 x => -ERR no such key
LPOS l a => 3
RPUSH l a a => 7
LPOS l a RANK -1 => 6
LPOS l a COUNT 0 => [3, 5, 6]
LPOS l a RANK 0 => -ERR RANK can't be zero
LREM l -2 a => 2
LRANGE l 0 -1 => ["c", "b", "yy", "a", "d"]
LTRIM l 1 -2 => "OK"
LRANGE l 0 -1 => ["b", "yy", "a"]
LPOP l 0 => []
LPOP l 2 => ["b", "yy"]
LPOP nokey 2 => nil
RPOPLPUSH l other => "a"
EXISTS l => 0
LMOVE other other LEFT RIGHT => "a"
LMPOP 2 nokey other LEFT COUNT 10 => ["other", ["a"]]
RPUSH l 1 2 3 => 3
BLPOP nokey l 1 => ["l", "1"]
BLPOP l -1 => -ERR timeout is negative
BRPOPLPUSH l l 1 => "3"
BLMPOP 1 1 l LEFT => ["l", ["3"]]

# sets
SADD s a b c => 3
SADD s a d => 1
SREM s a nokey => 1
~SMEMBERS s => ["b", "c", "d"]
SISMEMBER s b => 1
SMISMEMBER s b x => [1, 0]
SADD t c d e => 3
~SINTER s t => ["c", "d"]
~SUNION s t => ["b", "c", "d", "e"]
SDIFF s t => ["b"]
SINTER s nokey => []
SINTERCARD 2 s t LIMIT 1 => 1
SINTERSTORE d s t => 2
SINTERSTORE d s nokey => 0
EXISTS d => 0
SMOVE s t b => 1
SMOVE s t b => 0
SPOP s 0 => []
SRANDMEMBER nokey 10 => []
SET x 1 => "OK"
SMOVE s x c => -WRONGTYPE
SUNION s x => -WRONGTYPE

# sorted sets
ZADD z 10 x 20 y 30 z => 3
ZADD z XX CH 11 x 5 none => 1
ZADD z NX 1 x 40 w => 1
ZADD z GT CH 5 x => 0
ZADD z INCR 1.5 x => "12.5"
ZADD z NX INCR 1 x => nil
ZADD z 10 x 20 => -ERR syntax error
ZADD z nan x => -ERR value is not a valid float
ZRANGE z 0 -1 WITHSCORES => ["x", "12.5", "y", "20", "z", "30", "w", "40"]
ZRANGEBYSCORE z (12.5 30 => ["y", "z"]
ZREVRANGEBYSCORE z +inf (20 LIMIT 0 1 => ["w"]
ZCOUNT z -inf (30 => 2
ZRANGE z 1 2 REV => ["z", "y"]
ZRANGE z 0 1 LIMIT 0 1 => -ERR syntax error, LIMIT is only supported
ZRANK z y => 1
ZREVRANK z y => 2
ZINCRBY z -inf x => "-inf"
ZINCRBY z inf x => -ERR resulting score is not a number (NaN)
ZPOPMIN z => ["x", "-inf"]
ZPOPMAX z 2 => ["w", "40", "z", "30"]
ZADD l 0 a 0 b 0 c 0 d => 4
ZRANGEBYLEX l [b (d => ["b", "c"]
ZLEXCOUNT l - + => 4
ZREMRANGEBYLEX l (a [c => 2
ZADD m 1 a 5 e => 2
ZUNION 2 l m WEIGHTS 1 2 WITHSCORES => ["d", "0", "a", "2", "e", "10"]
ZINTERSTORE d 2 l m AGGREGATE MAX => 1
ZINTERCARD 2 l m => 1
ZDIFF 2 m l WITHSCORES => ["e", "5"]
ZMSCORE m a nokey => ["1", nil]
ZMPOP 1 m MAX => ["m", [["e", "5"]]]
ZADD big 12345678901234567890 m 0.1 n => 2
ZSCORE big n => "0.10000000000000001"
ZSCORE big m => "1.2345678901234567e+19"

# hashes
HSET h a 1 b 2 => 2
HSET h a 3 c 4 => 1
HSET h a => -ERR wrong number of arguments for 'hset' command
HSETNX h a 9 => 0
HMGET h a nokey c => ["3", nil, "4"]
HINCRBY h a 5 => 8
HINCRBY h new -1 => -1
HSET h s abc => 1
HINCRBY h s 1 => -ERR hash value is not an integer
HINCRBYFLOAT h a 0.5 => "8.5"
HSTRLEN h s => 3
HDEL h a b c new => 4
HGETALL h => ["s", "abc"]
HDEL h s => 1
EXISTS h => 0
HRANDFIELD h 3 => []

# keys and time
SET foo bar => "OK"
EXPIRE foo -1 => 1
EXISTS foo => 0
SET foo bar => "OK"
TTL foo => -1
TTL nokey => -2
EXPIREAT foo 4102444800 => 1
EXPIRETIME foo => 4102444800
EXPIREAT foo 4102444700 GT => 0
EXPIREAT foo 4102444700 LT => 1
EXPIRE foo 10 NX GT => -ERR NX and XX, GT or LT options
PERSIST foo => 1
PERSIST foo => 0
EXPIRE foo 9223372036854775807 => -ERR invalid expire time in 'expire' command
RENAME nokey x => -ERR no such key
RENAMENX foo foo => 0
COPY foo copy => 1
COPY foo copy => 0
COPY foo foo => -ERR source and destination objects are the same
~KEYS [fc]o[op]* => ["copy", "foo"]
TYPE foo => "string"
OBJECT ENCODING foo => "embstr"
SELECT 100 => -ERR DB index is out of range
GETEX foo EXAT 4102444800 => "bar"
GETEX foo PERSIST => "bar"
GETEX foo EX 0 => -ERR invalid expire time in 'getex' command

# transactions
MULTI => "OK"
MULTI => -ERR MULTI calls can not be nested
SET x 1 => "QUEUED"
INCR x => "QUEUED"
EXEC => ["OK", 2]
MULTI => "OK"
NOSUCH => -ERR unknown command
EXEC => -EXECABORT
EXEC => -ERR EXEC without MULTI
WATCH x => "OK"
SET x 5 => "OK"
MULTI => "OK"
PING => "QUEUED"
EXEC => nil
"""


def groups() -> list[tuple[str, list[tuple[str, str]]]]:
    """(name, (command, answer) of each row)."""
    found = []
    for block in GROUPS.strip().split("\n\n"):
        name, *rows = block.split("\n")
        found.append((name.removeprefix("# "), [(row.split(" => ")[0], row.split(" => ")[1]) for row in rows]))
    return found
