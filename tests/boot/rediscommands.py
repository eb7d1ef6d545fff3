# SPDX-License-Identifier: MIT
"""Commands at random, of few keys so that they meet; and what of an answer has an order."""

from __future__ import annotations

import random
import re

Word = bytes | str | int | float
KEYS = [f"k{number}" for number in range(12)]
FIELDS = [f"f{number}" for number in range(8)]
NUMBERS = [
    "0",
    "1",
    "-1",
    "5",
    "10",
    "-7",
    "100",
    "x",
    "",
    "1.5",
    " 1",
    "01",
    "9223372036854775807",
    "-9223372036854775808",
]
TIMES = ["10000", "0", "-1", "x", "", "9223372036854775807"]  # none that ends while the test runs
FLOATS = [
    "0",
    "1",
    "0.3",
    "996.2",
    "1234567.125",
    "-0.0001",
    "-1.5",
    "3.3",
    "2.25",
    "inf",
    "-inf",
    "1e3",
    "nope",
    "0.1",
    "100",
    "-0",
]
VALUES = [b"", b"a", b"hello world", b"\r\n", b"line\r\nline", b"\x00\xff", b"12", b"-3", b"10.5", b"x" * 300]
ENDS = ["-inf", "+inf", "0", "1", "(1", "3.3", "(3.3", "x", "-2"]
LEX = ["-", "+", "[f1", "(f3", "[f5", "(f7", "f2", "["]
BITS = ["0", "1", "6", "9", "100", "#0", "#1", "#3", "-1", "x", ""]
WIDTHS = ["u1", "u8", "u63", "i1", "i5", "i8", "i64", "u16", "u64", "i65", "u0", "x8", ""]
TEXTS = [b"", b"ohmytext", b"mynewtext", b"abcabcabc", b"xxabcyyabcab", b"aaaa", b"a\x00b\xffc"]
PATTERNS = ["*", "k*", "k?", "k[1-3]", "[^k]*", "k1\\0", "", "*1*"]

# A letter stands for a word of a kind; "|" parts choices, "..." repeats the word before it.
FORMS = """
GET k; SET k v; SET k v NX; SET k v XX; SET k v GET; SET k v EX 10000; SET k v PX 10000000 NX; SET k v KEEPTTL; SET k v EX 0
SET k v NX XX; SET k v EX t; SET k v PXAT 1; SET k v NX GET; SETNX k v; SETEX k t v; PSETEX k 10000000 v; GETSET k v
GETDEL k; GETEX k; GETEX k PERSIST; GETEX k EX 10000; GETEX k EX t; MGET k k k; MSET k v k v; MSET k v k; MSETNX k v k v
INCR k; DECR k; INCRBY k n; DECRBY k n; INCRBYFLOAT k g; APPEND k v; STRLEN k; SETRANGE k r v; GETRANGE k n n
SETBIT k b 1; SETBIT k b 0; SETBIT k 1 x; GETBIT k b; BITCOUNT k; BITCOUNT k s s; BITCOUNT k s s BIT; BITCOUNT k n n BYTE; BITCOUNT k s
BITCOUNT k s s BAD; BITPOS k 1; BITPOS k 0; BITPOS k 1 s; BITPOS k 0 s s; BITPOS k 0 n n BIT; BITPOS k 1 s s BIT; BITPOS k 2; BITPOS k 0 s s X
BITOP AND k k k; BITOP OR k k k; BITOP XOR k k k k; BITOP NOT k k; BITOP NOT k k k; BITOP NAND k k; BITFIELD k GET h b; BITFIELD k SET h b n
BITFIELD k INCRBY h b n; BITFIELD k OVERFLOW o INCRBY h b n GET h b; BITFIELD k OVERFLOW o SET h b n SET h b n; BITFIELD k GET u8
BITFIELD_RO k GET h b GET h b; BITFIELD_RO k SET h b n; SET q m; SET q m; LCS q q; LCS q q LEN; LCS q q IDX; LCS q k LEN IDX; LCS k q BAD
LCS q q IDX MINMATCHLEN 2 WITHMATCHLEN; OBJECT FREQ q; STRLEN q
HSET k f v; HSET k f v f v; HSET k f; HMSET k f v; HSETNX k f v; HGET k f; HMGET k f f f; HDEL k f f; HGETALL k; HKEYS k
HVALS k; HLEN k; HEXISTS k f; HSTRLEN k f; HINCRBY k f n; HINCRBYFLOAT k f g; HSCAN k 0; HSCAN k 0 MATCH p COUNT 5
RPUSH k v v; LPUSH k v v v; RPUSHX k v; LPUSHX k v; LPOP k; RPOP k; LPOP k c; RPOP k c; LLEN k; LRANGE k n n
LRANGE k 0 -1; LTRIM k s s; LINDEX k n; LSET k s v; LINSERT k BEFORE v v; LINSERT k AFTER v v; LREM k s v; LPOS k v
LPOS k v RANK s; LPOS k v COUNT s; LPOS k v RANK -1 MAXLEN 2; LMOVE k k LEFT RIGHT; LMOVE k k RIGHT LEFT; RPOPLPUSH k k
LMPOP 2 k k LEFT; LMPOP 1 k RIGHT COUNT 2; LMPOP 0 k LEFT; LMPOP 1 k UP; BLPOP k k 0.01; BRPOP k x; BLMOVE k k LEFT LEFT 0.01
SADD k f f; SREM k f f; SMEMBERS k; SCARD k; SISMEMBER k f; SMISMEMBER k f f; SMOVE k k f; SUNION k k; SINTER k k; SDIFF k k
SUNIONSTORE k k k; SINTERSTORE k k k; SDIFFSTORE k k k; SINTERCARD 2 k k; SINTERCARD 2 k k LIMIT 1; SINTERCARD 0 k; SSCAN k 0
SADD k 1 2 3; SINTERCARD 3 k; SRANDMEMBER k 0; SPOP k x; SPOP k 0
ZADD k g f; ZADD k g f g f; ZADD k NX g f; ZADD k XX CH g f; ZADD k GT g f; ZADD k LT CH g f; ZADD k INCR g f; ZADD k NX GT g f
ZADD k g; ZADD y 0 f0 0 f1 0 f2 0 f3 0 f5 0 f7; ZADD y 0 f 0 f; ZREM y f f; ZINCRBY k g f; ZREM k f f; ZCARD k; ZSCORE k f; ZMSCORE k f f; ZRANK k f
ZREVRANK k f; ZPOPMIN k; ZPOPMAX k; ZPOPMIN k c; ZRANGE k n n; ZRANGE k 0 -1 WITHSCORES; ZRANGE k 0 -1 REV; ZREVRANGE k s s
ZRANGE k e e BYSCORE; ZRANGE k e e BYSCORE LIMIT 1 2 WITHSCORES; ZRANGE y l l BYLEX; ZRANGE y l l BYLEX REV LIMIT 0 2
ZRANGE k 0 1 LIMIT 0 1; ZRANGE y l l BYLEX WITHSCORES; ZRANGEBYSCORE k e e WITHSCORES; ZREVRANGEBYSCORE k e e LIMIT 0 2
ZRANGEBYLEX y l l; ZREVRANGEBYLEX y l l; ZCOUNT k e e; ZLEXCOUNT y l l; ZREMRANGEBYRANK k s s; ZREMRANGEBYSCORE k e e
ZREMRANGEBYLEX y l l; ZRANGESTORE k k 0 -1; ZRANGESTORE k k e e BYSCORE; ZUNIONSTORE k 2 k k; ZUNIONSTORE k 2 k k WEIGHTS 2 g
ZINTERSTORE k 2 k k AGGREGATE MIN; ZDIFFSTORE k 2 k k; ZUNION 2 k k WITHSCORES; ZINTER 2 k k; ZDIFF 2 k k WITHSCORES; ZUNION 0 k
ZINTERCARD 2 k k; ZINTERCARD 2 k k LIMIT s; ZINTERCARD 1 k WITHSCORES; ZINTERCARD 0 k; ZMPOP 1 k MIN; ZMPOP 2 k k MAX COUNT 2; ZSCAN k 0; BZPOPMIN k 0.01
DEL k k; UNLINK k; EXISTS k k; TOUCH k k; TYPE k; EXPIRE k 10000; EXPIRE k t; EXPIRE k 10000 NX; EXPIREAT k 4102444900 GT; EXPIRE k 5000 LT
EXPIRE k 10 NX XX; EXPIRE k 10 BAD; PEXPIRE k 10000000 XX; EXPIREAT k 1; EXPIREAT k 4102444800; TTL k; PERSIST k; EXPIRETIME k
RENAME k k; RENAMENX k k; KEYS p; SCAN 0 COUNT 1000; SCAN 0 MATCH p COUNT 1000 TYPE hash; SCAN x; COPY k k; COPY k k REPLACE
OBJECT REFCOUNT nokey; OBJECT WRONG k; MOVE k 0; SELECT 99; SELECT x; COPY k k DB 1; PING; PING v; ECHO v; ECHO
NOSUCH; nosuch a b; GET; SET k; HGET k; LRANGE k 0; MULTI; EXEC; DISCARD; WATCH k; UNWATCH; SET k v; GET k; INCR k; DISCARD; EXEC
PUBLISH k v; PUBSUB NUMPAT; CLIENT GETNAME; SETRANGE k 0 v; SUBSTR k 0 3; RANDOMKEY x; FLUSHDB x; AUTH v; HELLO 9; TIME x
"""
_FORMS = [form.split() for form in FORMS.replace("\n", ";").split(";") if form.strip()]
UNORDERED = {
    "HGETALL",
    "HKEYS",
    "HVALS",
    "SMEMBERS",
    "SUNION",
    "SINTER",
    "SDIFF",
    "KEYS",
    "SCAN",
    "HSCAN",
    "SSCAN",
    "ZSCAN",
}
PAIRED = {"HGETALL", "HSCAN", "ZSCAN"}
NEAR = {"TTL", "EXPIRETIME"}  # of a clock that runs


class Commands:
    """Commands of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> list[Word]:
        form = self._random.choice(_FORMS)
        return [form[0], *[self._word(word) for word in form[1:]]]

    def _word(self, word: str) -> Word:
        choice = self._random.choice
        kinds: dict[str, list[Word]] = {
            "k": list(KEYS), "y": ["same0", "same1"], "v": list(VALUES), "f": list(FIELDS), "n": list(NUMBERS), "g": list(FLOATS),
            "p": list(PATTERNS), "e": list(ENDS), "l": list(LEX), "s": [0, 1, -1, 2, -3], "c": [0, 1, 2, 5, -1],
            "r": [0, 1, 5, 20, -1], "t": list(TIMES), "b": list(BITS), "h": list(WIDTHS), "o": ["WRAP", "SAT", "FAIL", "sat", "NO"],
            "q": ["text0", "text1"], "m": list(TEXTS),
        }  # fmt: skip
        return choice(kinds[word]) if word in kinds else word


_FRACTION = re.compile(rb"-?\d+(\.\d+)?(e[-+]?\d+)?")


def shown(words: list[Word], answer: object, *, by_value: bool = False) -> object:
    """The answer as both servers must give it: sorted where Redis promises no order. by_value: a score is its number,
    however many digits say it."""
    name = str(words[0]).upper()
    if by_value and name.startswith(("Z", "BZ")):
        answer = _by_value(answer)
    if name in NEAR and isinstance(answer, int) and answer > 0:
        return "some time"
    if name in UNORDERED and isinstance(answer, list):
        if name.endswith("SCAN"):
            return [answer[0], _sorted(answer[1], name)]
        return _sorted(answer, name)
    return answer


def _by_value(answer: object) -> object:
    if isinstance(answer, list):
        return [_by_value(each) for each in answer]
    if isinstance(answer, bytes) and _FRACTION.fullmatch(answer) and not answer.lstrip(b"-").isdigit():
        return repr(float(answer)).encode()
    return answer


def _sorted(values: object, name: str) -> object:
    assert isinstance(values, list)
    if name in PAIRED:
        return sorted(zip(values[::2], values[1::2], strict=True))
    return sorted(values)
