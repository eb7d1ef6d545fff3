# SPDX-License-Identifier: MIT
"""tomllib: load, loads, TOMLDecodeError, prints what it reads with the keys in order."""

import datetime
import io
import tomllib


def told(value):
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%r: %s" % (key, told(value[key])) for key in sorted(value))
    if isinstance(value, list):
        return "[%s]" % ", ".join(told(each) for each in value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return "'%s'" % value.replace("\n", "|") if isinstance(value, str) else repr(value)


DOCUMENT = (
    '''
title = "an appliance"  # a comment
"quoted key" = 'C:\\no escape'
dotted.key.here = true

[server]
port = 8_080
hex = 0xDEAD_beef
octal = 0o17
binary = 0b101
ratio = 6.25e-2
bounds = [inf, -inf]
names = [
    "a",  # one a line
    'b',
]
when = 2026-11-28T07:32:00Z
local = 2026-11-28 07:32:00.5
day = 2026-11-28
hour = 07:32:00

[server.tls]
inline = { cert = "c.pem", keys = [1, [2, 3]], deep.er = {} }

[[zone]]
name = "example.org"
[zone.soa]
serial = 1
[[zone]]
name = "example.com"
text = """
two \\
    joined, "quoted" \\u00e9 \\U0001F600
end"""
raw = """
'''.replace('raw = """', "raw = '''")
    + "as \\it is\n''''\n"
)

print(told(tomllib.loads(DOCUMENT)))
print(told(tomllib.loads("")), told(tomllib.loads("a = 1\r\nb = 2\r\n")))
print(told(tomllib.load(io.BytesIO(b"a = 'read'\n"))))
for text in (
    "a = 1\na = 2", "a = 1\n[a]", "[a]\n[a]", "[a]\nb = 1\n[a.b]", "a = {x = 1}\n[a.y]", "[[a]]\n[a]", "a = [1\n", "a = {x = 1",
    "a = {x = 1,}", 'a = "x', "a = 'x", 'a = """x', "a = '''x", "a", "a =", "= 1", "a = 1 2", "a = 01", "a = 1.", "a = 1__0",
    "a = 0xG", "a = yes", "[a", "[[a]", "a.b = 1\n[a]\nb = 2", 'a = "\\x"', 'a = "\\uD800"', "a = 2026-13-40", 'a = "\x01"', "\u00fc = 1",
):  # fmt: skip
    try:
        print("read", told(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as e:
        print(isinstance(e, ValueError), "line" in str(e) or "end of document" in str(e))
try:
    tomllib.load(io.StringIO("a = 1"))
except TypeError as e:
    print("binary mode" in str(e))
