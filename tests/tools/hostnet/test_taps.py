# SPDX-License-Identifier: MIT
"""Cards on sockets: a file of the user's is none, and stays."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from floe.errors import FloeError
from floe.hostnet import taps
from floe.spec.network import Card


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    (tmp_path / "link").symlink_to("mine")
    for kind, name in (("listen", "mine"), ("listen", "link"), ("connect", "mine"), ("connect", "link")):
        with pytest.raises(FloeError, match="it is there, and no socket"):
            taps.check_host([Card(kind, str(tmp_path / name))])


def test_what_a_killed_vm_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    taps.check_host([Card("listen", str(tmp_path / "left"))])
