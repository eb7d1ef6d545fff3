# SPDX-License-Identifier: MIT
import secrets


def tried(f, *args):
    try:
        print(f(*args))
    except Exception as e:
        print(type(e).__name__)


print(len(secrets.token_bytes()), len(secrets.token_bytes(5)), len(secrets.token_hex(4)), secrets.token_hex(0) == "")
text = secrets.token_urlsafe(10)
print(len(text), all(c.isalpha() or c.isdigit() or c in "-_" for c in text), secrets.token_hex() != secrets.token_hex())
numbers = [secrets.randbelow(10) for _ in range(400)]
print(sorted(set(numbers)), secrets.randbelow(1), {secrets.choice("ab") for _ in range(100)} == {"a", "b"})
print(
    all(0 <= secrets.randbits(k) < 1 << k for k in (1, 7, 8, 9, 100)),
    secrets.randbits(0),
    2**60 > secrets.randbelow(2**60),
)
tried(secrets.randbelow, 0)
tried(secrets.choice, [])
print(secrets.compare_digest(b"ab", b"ab"), secrets.compare_digest("ab", "ac"), secrets.compare_digest(b"a", b"ab"))
tried(secrets.compare_digest, "a", b"a")
tried(secrets.compare_digest, "é", "é")
