# SPDX-License-Identifier: MIT
"""tools/floe/image/append.py, on an image as it is linked."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from floe.build import pipeline
from floe.image import elf, names
from floe.image.append import PAGE, Kernel, Segment

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def linked() -> bytes:
    return pipeline.build(REPO / "images" / "hello", how="linked").path.read_bytes()


def test_a_segment_behind_the_others(linked: bytes, tmp_path: Path) -> None:
    kernel = Kernel(linked)
    segment = Segment(kernel.address("link_end"))
    first = segment.add(".one", b"one")
    second = segment.add(".two", bytes(5000))
    segment.add(".a.note", elf.notes(b"{}"), note=True)
    assert (first, second) == (kernel.address("link_end"), kernel.address("link_end") + 16)
    assert segment.pages_bytes == 2 * PAGE
    out = tmp_path / "out.elf"
    patched = kernel.address("floe_app")
    out.write_bytes(kernel.append(segment, {patched: b"\1\2\3\4"}))
    made = Kernel(out.read_bytes())
    assert made.read(patched, 5) == b"\1\2\3\4" + kernel.read(patched + 4, 1)
    assert made.read(first, 3) == b"one"
    assert made.address("link_end") == kernel.address("link_end")
    # Binutils sees one segment, one note and three sections more, and nothing to complain of.
    done = subprocess.run(["readelf", "-lSnW", str(out)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n  LOAD ") == 4
    assert done.stdout.count("\n  NOTE ") == 2
    assert all(name in done.stdout for name in (".one", ".two", ".a.note", names.SECTION))


def test_no_room_for_one_more_program_header(linked: bytes) -> None:
    """The table ends where the first segment begins."""
    raw = bytearray(linked)
    at, size, count = *struct.unpack_from("<Q", raw, 32), *struct.unpack_from("<HH", raw, 54)
    first = min(struct.unpack_from("<Q", raw, at + i * size + 8)[0] for i in range(count) if raw[at + i * size] == 1)
    table = bytes(raw[at : at + count * size])
    raw[first - len(table) : first] = table
    struct.pack_into("<Q", raw, 32, first - len(table))
    kernel = Kernel(bytes(raw))
    segment = Segment(kernel.address("link_end"))
    segment.add(".one", b"one")
    with pytest.raises(ValueError, match=f"no room for {count + 1} program headers"):
        kernel.append(segment, {})


def test_what_is_not_there_is_refused(linked: bytes) -> None:
    kernel = Kernel(linked)
    with pytest.raises(ValueError, match="no symbol nobody"):
        kernel.address("nobody")
    with pytest.raises(ValueError, match="are not in the file"):
        kernel.read(kernel.address("link_end"), 1)
    with pytest.raises(ValueError, match="are not in the file"):
        kernel.append(Segment(kernel.address("link_end")), {0: b"x"})
