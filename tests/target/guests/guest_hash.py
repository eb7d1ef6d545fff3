# SPDX-License-Identifier: MIT
"""Known answers: hashes (RFC 1321, FIPS 180-4), HMAC (RFC 4231), AES (SP 800-38A), and the data modules."""

import binascii
import hashlib
import hmac
import io
import json
import os
import random
import re
import struct

import cryptolib
import deflate
import uctypes

unhex = binascii.unhexlify


def test_hashes():
    expected = {
        "md5": "900150983cd24fb0d6963f7d28e17f72",
        "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
        "sha224": "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha384": "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        "sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    }
    for name, digest in expected.items():
        h = getattr(hashlib, name)(b"a")
        h.update(b"b")
        copy = h.copy()
        h.update(b"c")
        assert h.hexdigest() == digest, name
        copy.update(b"c")
        assert copy.digest() == unhex(digest) and len(unhex(digest)) == h.digest_size
    million = hashlib.sha256()
    for _ in range(1000):
        million.update(b"a" * 1000)
    assert million.hexdigest() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_hmac():
    key, text = b"Jefe", b"what do ya want for nothing?"
    assert hmac.new(key, text, "sha256").hexdigest() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert hmac.digest(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First", "sha512").hex() == (
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
        "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"
    )
    assert hmac.compare_digest("abc", "abc") and not hmac.compare_digest(b"abc", b"abd")


def test_aes():
    key = unhex("2b7e151628aed2a6abf7158809cf4f3c")
    key256 = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    iv = unhex("000102030405060708090a0b0c0d0e0f")
    counter = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    for secret, mode, start, cipher in (
        (key, cryptolib.MODE_ECB, None, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"),
        (key, cryptolib.MODE_CBC, iv, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"),
        (key, cryptolib.MODE_CTR, counter, "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"),
        (key256, cryptolib.MODE_CBC, iv, "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"),
    ):
        arguments = (secret, mode) if start is None else (secret, mode, start)
        assert cryptolib.aes(*arguments).encrypt(plain) == unhex(cipher)
        assert cryptolib.aes(*arguments).decrypt(unhex(cipher)) == plain


def test_deflate():
    text = b"known answers, known answers, known answers " * 20
    for kind in (deflate.RAW, deflate.ZLIB, deflate.GZIP):
        packed = io.BytesIO()
        with deflate.DeflateIO(packed, kind) as stream:
            stream.write(text)
        assert len(packed.getvalue()) < len(text) // 4
        assert deflate.DeflateIO(io.BytesIO(packed.getvalue()), kind).read() == text
    # CPython's zlib.compress(b"floe" * 10)
    assert deflate.DeflateIO(io.BytesIO(unhex("789c4bcbc94f4d230203005225107d"))).read() == b"floe" * 10


def test_data():
    assert binascii.crc32(b"123456789") == 0xCBF43926
    assert binascii.b2a_base64(b"\x00\xff\x10") == b"AP8Q\n" and binascii.a2b_base64(b"AP8Q") == b"\x00\xff\x10"
    assert json.loads(json.dumps({"a": [1, 2.5, None, True, "\u00e9"]})) == {"a": [1, 2.5, None, True, "\u00e9"]}
    assert re.match(r"(\w+)@(\w+)\.org", "me@example.org").group(2) == "example"
    assert struct.pack("<IhBq", 1, -2, 3, -4) == unhex("01000000feff03fcffffffffffffff")
    buf = bytearray(unhex("3412cdab"))
    s = uctypes.struct(
        uctypes.addressof(buf), {"a": 0 | uctypes.UINT16, "b": 2 | uctypes.UINT16}, uctypes.LITTLE_ENDIAN
    )
    assert s.a == 0x1234 and s.b == 0xABCD


def test_random():
    a, b = os.urandom(32), os.urandom(32)
    assert len(a) == 32 and a != b and a != bytes(32)
    assert len({random.getrandbits(30) for _ in range(50)}) > 40


for name in sorted(globals()):
    if name.startswith("test_"):
        globals()[name]()
        print("ok", name)
print("all done")
