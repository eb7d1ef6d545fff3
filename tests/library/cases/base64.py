# SPDX-License-Identifier: MIT
import base64
import io
from base64 import (
    a85decode,
    a85encode,
    b16decode,
    b16encode,
    b32decode,
    b32encode,
    b64decode,
    b64encode,
    b85decode,
    b85encode,
)


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print("ValueError" if isinstance(e, ValueError) else type(e).__name__)


every = bytes(range(256))
for data in (b"", b"f", b"fo", b"foo", b"foob", b"fooba", b"foobar", every, bytes(9), b"    x", b"\xff" * 5):
    for encode, decode in (
        (b64encode, b64decode), (b32encode, b32decode), (b16encode, b16decode), (b85encode, b85decode), (a85encode, a85decode),
        (base64.urlsafe_b64encode, base64.urlsafe_b64decode), (base64.standard_b64encode, base64.standard_b64decode),
        (base64.encodebytes, base64.decodebytes), (base64.b32hexencode, base64.b32hexdecode),
    ):  # fmt: skip
        coded = encode(data)
        assert decode(coded) == data
        print(coded)
print(b64encode(every, b"-_"), b64decode("_-8=", "-_"), b64encode(bytearray(b"ab")), b64encode(memoryview(b"ab")))
for text in (
    "Zm9v",
    "Zm9vYg==",
    "Zm9vYg=",
    "Zm9vYg",
    "Zm 9v\nYg = =",
    "Zm9v!Yg==",
    "Z",
    "====",
    "Zm9vYg==Zm9v",
    "é",
    "",
    "=Zm9v",
):
    print(text.encode(), end=" ")
    tried(b64decode, text)
for text in ("Zm9v", "Zm9vYg==", "Zm9v!Yg==", "Zm9vYg==Zm9v", "Zm9vYg"):
    tried(b64decode, text, validate=True)
tried(b64encode, "text")
for text in ("MZXW6===", "mzxw6===", "MZXW6==", "MZXW61==", "M1======", ""):
    tried(b32decode, text)
tried(b32decode, "mzxw6===", casefold=True)
tried(b32decode, "M1======", map01="L")
tried(b32decode, "MZXW60==", False, "I")
for text in ("466F", "466f", "46F", "zz"):
    tried(b16decode, text)
tried(b16decode, "466f", True)
for text in ("AzAz", "~~~~~", "A A", '"'):
    tried(b85decode, text)
print(
    b85encode(b"abcde", pad=True),
    a85encode(b"abcde", pad=True),
    a85encode(bytes(4) + b"    " + bytes(4), foldspaces=True),
)
print(a85encode(every, wrapcol=40, adobe=True), a85encode(b"x", adobe=True), a85encode(b"abcdefgh", wrapcol=5))
tried(a85decode, b"<~87cUR\n  D]~>", adobe=True)
tried(a85decode, b"87cURD]", adobe=True)
tried(a85decode, b"z5sdq,z y", foldspaces=True)
tried(a85decode, b"5sz")
tried(a85decode, b"v")
out = io.BytesIO()
base64.encode(io.BytesIO(every), out)
print(out.getvalue())
back = io.BytesIO()
base64.decode(io.BytesIO(out.getvalue()), back)
print(back.getvalue() == every)
