# SPDX-License-Identifier: MIT
"""The modules of images/router that need no VM, which CPython runs too; what they have of native code stands here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

IMAGE = Path(__file__).resolve().parents[2] / "images" / "router"


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071), as modules/link has it."""
    data = bytes(data) + bytes(len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


sys.modules.setdefault("_link", SimpleNamespace(checksum=checksum))  # type: ignore[arg-type]  # its functions are enough
if str(IMAGE) not in sys.path:
    sys.path.append(str(IMAGE))
