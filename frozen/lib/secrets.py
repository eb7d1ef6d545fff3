# SPDX-License-Identifier: MIT
# CPython's secrets: numbers and tokens that nobody can guess, from the VM's entropy.

import binascii
import os

DEFAULT_ENTROPY = 32


def randbits(k):
    if k < 0:
        raise ValueError("number of bits must be non-negative")
    return int.from_bytes(os.urandom((k + 7) // 8), "big") >> -k % 8


def randbelow(exclusive_upper_bound):
    if exclusive_upper_bound <= 0:
        raise ValueError("Upper bound must be positive.")
    bits = 0
    while exclusive_upper_bound - 1 >> bits:
        bits += 1
    while True:
        n = randbits(bits)
        if n < exclusive_upper_bound:
            return n


def choice(sequence):
    if not sequence:
        raise IndexError("Cannot choose from an empty sequence")
    return sequence[randbelow(len(sequence))]


def token_bytes(nbytes=None):
    return os.urandom(DEFAULT_ENTROPY if nbytes is None else nbytes)


def token_hex(nbytes=None):
    return binascii.hexlify(token_bytes(nbytes)).decode()


def token_urlsafe(nbytes=None):
    text = binascii.b2a_base64(token_bytes(nbytes), newline=False).decode()
    return text.replace("+", "-").replace("/", "_").rstrip("=")


def compare_digest(a, b):
    """Takes as long for digests that differ as for equal ones."""
    if isinstance(a, str) and isinstance(b, str):
        a, b = a.encode(), b.encode()
        if any(c > 127 for c in a) or any(c > 127 for c in b):
            raise TypeError("comparing strings with non-ASCII characters is not supported")
    elif isinstance(a, str) or isinstance(b, str):
        raise TypeError("a bytes-like object is required")
    differs = len(a) ^ len(b)
    for x, y in zip(a, b if len(a) == len(b) else a):
        differs |= x ^ y
    return differs == 0
