# SPDX-License-Identifier: MIT
"""Take the kernel proper, an ELF, out of a Linux bzImage (Documentation/arch/x86/boot.rst, protocol 2.08).

Under emulation a kernel that unpacks itself costs seconds. xz and gzip by the standard library, lz4 and zstd by the
programs of these names.
"""

from __future__ import annotations

import lzma
import struct
import subprocess
import zlib

from floe.errors import NotFound, UpstreamError

_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_SETUP_SECTS_AT, _PAYLOAD_AT = 0x1F1, 0x248
_TIMEOUT_S = 60
_PROGRAMS = {b"\x02\x21\x4c\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}


def kernel(image: bytes) -> bytes:
    """The ELF in a bzImage. Raises UpstreamError, NotFound when the program to unpack it is not there."""
    if len(image) < 0x250 or image[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC:
        raise UpstreamError("not a Linux bzImage")
    offset, length = struct.unpack_from("<II", image, _PAYLOAD_AT)
    start = ((image[_SETUP_SECTS_AT] or 4) + 1) * 512 + offset
    packed = image[start : start + length]
    if len(packed) != length or length < 8:
        raise UpstreamError("the bzImage is cut short")
    try:
        elf = _unpack(packed)
    except (lzma.LZMAError, zlib.error, EOFError) as e:
        raise UpstreamError(f"the kernel in the bzImage is damaged: {e}") from e
    if elf[:4] != b"\x7fELF":
        raise UpstreamError("what the bzImage holds is not an ELF")
    return elf


def _unpack(packed: bytes) -> bytes:
    # Behind the packed data stand 4 bytes with the size; a decompressor object leaves them alone.
    for magic, decompressor in (
        (b"\xfd7zXZ\0", lzma.LZMADecompressor(lzma.FORMAT_XZ)),
        (b"\x1f\x8b", zlib.decompressobj(31)),
    ):
        if packed.startswith(magic):
            out = decompressor.decompress(packed)
            if not decompressor.eof:
                raise EOFError("it ends too early")
            return out
    program = _PROGRAMS.get(packed[:4])
    if program is None:
        raise UpstreamError(f"the kernel is packed in a way unknown to floe: {packed[:4].hex()}")
    try:
        done = subprocess.run([program, "-dc"], input=packed[:-4], capture_output=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise NotFound(
            f"the kernel is packed with {program}, which is not here", hint=f"sudo apt-get install {program}"
        ) from None
    except subprocess.TimeoutExpired as e:
        raise UpstreamError(f"{program} did not end within {_TIMEOUT_S} s") from e
    if done.returncode:
        raise UpstreamError(f"{program} cannot unpack the kernel", evidence=done.stderr.decode("utf-8", "replace"))
    return done.stdout
