# SPDX-License-Identifier: MIT
"""What a VM and CPython print alike, where MicroPython 1.25 as it comes does not. Runs under both."""

import json
import re
import time
from collections import namedtuple


def tried(function, *args):
    try:
        return function(*args)
    except Exception as e:
        return "ValueError" if isinstance(e, (ValueError, getattr(re, "error", ValueError))) else repr(e)


PATTERNS = (
    "a{2}", "a{2,}", "a{,2}", "a{2,3}", "a{0}", "a{0,}", "a{2,3}?", "a{1,}?", "^a{2}$", "[ab]{2,4}", "(ab){2}", "(?:ab){1,2}",
    "(a|b){3}c", "x(a{2}){2}", "(a{1,2})(b{1,2})", "[0-9]{1,3}\\.[0-9]{1,3}", "#[0-9a-f]{6}$", "a{", "a{}", "a{x}", "a\\{2}",
    "a{2", "{", "a{3,2}", "b{2}c", ".{3}", "(a)?{2}", "ab{0}c", "\\d{2}-\\d{2,}",
)  # fmt: skip
TEXTS = (
    "", "a", "aa", "aaa", "aaaa", "ab", "abab", "aabb", "abac", "xaaaa", "10.200", "#00ff33", "a{", "a{2}", "a{}", "a{x}", "a{2",
    "{", "bbc", "ac", "12-345",
)  # fmt: skip


def found(pattern, text):
    match = re.search(pattern, text)
    return match and (match.group(0), match.groups())


for pattern in PATTERNS:
    print(pattern, [tried(found, pattern, text) for text in TEXTS] if pattern != "(a)?{2}" else "-")

DOCUMENTS = (
    '"\\ud83d\\ude00"', '"a\\ud83d\\ude00b\\u00e9\\u20ac"', '"\\uD834\\uDD1E"', '"\\n\\u0041\\""', '"\\ud83d\\n"', '"\\ud83dx"',
    '"\\ud83d\\ud83d\\ude00"', '"\\u12"', '"\\u123', '"\\u12g4"', '"\\ud83d', '"\\ud83d\\', '"\\ud83d\\u', '"abc', '"\\', "", " ",
    "[", "{", "[1", "[1,", '{"a"', '{"a":', '{"a": 1', '{"a": [1, 2}', '[{"a": 1]', '{"a"}', "[1]]", "tru", "1 2", "[[1, 2], {}]",
    '{"a": {"b": [1, null, true]}}', " [1] ",
)  # fmt: skip
for text in DOCUMENTS:
    value = tried(json.loads, text)
    print(text, [ord(c) for c in value] if isinstance(value, str) and "Error" not in value else value)
face = json.loads('"\\ud83d\\ude00"')
print(len(face), face.encode(), face.encode().decode() == face)

REST = (0, 0, 0)
for when in (
    (1970, 1, 1, 0, 0, 0), (1969, 12, 31, 23, 59, 59), (1900, 3, 1, 0, 0, 0), (1968, 2, 29, 12, 0, 0), (1996, 2, 29, 1, 2, 3),
    (1999, 12, 31, 23, 59, 59), (2000, 2, 29, 0, 0, 0), (2000, 3, 1, 0, 0, 0), (2100, 3, 1, 0, 0, 0), (2399, 12, 31, 23, 59, 59),
    (1985, 14, 40, 30, 70, 90), (2026, 1, 0, 0, 0, 0),
):  # fmt: skip
    seconds = time.mktime(when + REST)
    print(when, int(seconds), tuple(time.gmtime(int(seconds)))[:6])

for seconds in (-1, -1.0, float("nan"), 0, 0.0, 1e-9, False):
    print("sleep", seconds, tried(time.sleep, seconds))
Point = namedtuple("Point", ("x", "y"))
print("percent", "%d %s" % Point(1, "b"), tried(lambda: "%d" % Point(1, 2))[:9])
none = (1 << 70) - (1 << 70)
print(
    "pow",
    [tried(pow, *three) for three in ((2, 3, 0), (2, 3, none), (1 << 70, 2, none), (1 << 70, 3, 7), (2, 10, 1000))],
)
print("same: the end")
