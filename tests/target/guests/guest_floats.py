# SPDX-License-Identifier: MIT
# Doubles as text and back, the same lines as CPython writes.

import json
import struct

print("floats")
state = [1]


def bits():
    state[0] = (state[0] * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
    return (state[0] >> 32) | (state[0] & 0xFFFFFFFF00000000)


def double(pattern):
    return struct.unpack("<d", struct.pack("<Q", pattern))[0]


def show(x, back=True):
    print(repr(x), "%.16e|%g|%.3g" % (x, x, x), "{:.9g}".format(x), float(repr(x)) == x)
    if back:
        assert json.loads(json.dumps(x)) == float("%.17g" % x) == float(str(x)) == x


for _ in range(3000):
    value = double(bits())
    show(value, abs(value) < float("inf"))
for k in range(-1074, 1024, 17):  # below a power of two the doubles are nearer than above
    show(2.0**k)
for x in (
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    9007199254740993.0,
    1e22,
    1e23,
    0.1,
    -0.0,
    100.0,
    1e16,
):
    show(x)
for _ in range(200):
    x = (bits() % 2000000000 - 1000000000) / 1000
    show(x)
    print("%f %.0f %.1f %.10f" % (x, x, x, x), "{:+.2f} {:8.3f} {:e} {:G}".format(x, x, x, x), abs(x) * 1j)
for text in (
    "2.47032822920623272088284396434110686182e-324", "2.47032822920623272088284396434110686183e-324", "1e400", "-1e-400",
    "1.797693134862315807e308", "1.797693134862315808e308", "9007199254740993", "9007199254740992.99999999999999999999",
    "9007199254740993." + "0" * 900 + "1", "0." + "0" * 400 + "1e401", "1" + "0" * 400 + "e-400", "1_0.5_0e0_1", "1.", ".5",
    "inf", "-Infinity", "nan", "0e99999999999999999999", "1e99999999999999999999", "1e-99999999999999999999",
):  # fmt: skip
    print(text[:40], repr(float(text)))
for text in ("", ".", "1e", "1e+", "1.2.3", "1x", "e5", "--1", "1e5.0"):
    try:
        print(text, float(text))
    except ValueError:
        print(text, "ValueError")
