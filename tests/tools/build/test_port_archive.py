# SPDX-License-Identifier: MIT
"""The port archive is never half of this and half of that: what it was made from is written down beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from floe.build import port_archive


def make(build: Path, *extra: str) -> None:
    argv = ["make", "-s", "-f", "port/port.mk", "PROFILE=sealed", f"BUILD={build}", f"{build}/app.ldflags", *extra]
    subprocess.run(argv, cwd=port_archive.ROOT, check=True, timeout=60)


@pytest.mark.parametrize(
    ("change", "kept"), [((), True), (("FLOE_LWIP_C=modules/lwip/sock.c",), False)], ids=["none", "source list"]
)
def test_another_list_of_sources_starts_anew(tmp_path: Path, change: tuple[str, ...], kept: bool) -> None:
    build = tmp_path / "archive"
    make(build)
    header = build / "genhdr" / "qstr.i.last"  # newer than every source, as upstream's rule wants it
    header.parent.mkdir()
    header.write_text("")

    make(build, *change)

    assert header.exists() == kept
    assert (build / "app.ldflags").exists()
