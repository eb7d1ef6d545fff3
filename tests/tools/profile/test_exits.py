# SPDX-License-Identifier: MIT
"""exits.py: reasons and what is left of all exits, lines by what they were at, and functions that images have."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile

from floe.image import names
from floe.profile import exits
from floe.profile.samples import Frame, Row, Stack
from tests.support.command import floe

SEND, RECV = Frame("a.py", 4, "send"), Frame("a.py", 9, "recv")


def test_what_no_reason_counts_is_of_the_others() -> None:
    counts = {"exits": 100, "halt_exits": 30, "mmio_exits": 50, "io_exits": 0}
    assert exits.reasons(counts) == [("mmio_exits", 50), ("halt_exits", 30), (exits.OTHERS, 20)]
    assert exits.reasons({"exits": 3, "signal_exits": 4}) == [("signal_exits", 4)], "one that came before its exit"


def test_a_line_has_its_part_of_the_samples_at_exits_and_not_of_those_that_wait() -> None:
    stacks = [
        Stack((RECV,), "idle", 900),
        Stack((RECV, SEND), "mmio_notify", 3),
        Stack((RECV, SEND), "mp_obj_new_int", 80),
        Stack((RECV,), "irq_end", 1),
        Stack((), "hal_uart_write", 1),
    ]
    assert exits.rows(exits.at(stacks)) == [
        Row(0.6, None, "a.py:4 send", python=True),
        Row(0.6, None, "mmio_notify: notifies a device", python=False),
        Row(0.2, None, "(no Python)", python=True),
        Row(0.2, None, "hal_uart_write: writes to the 16550", python=False),
        Row(0.2, None, "a.py:9 recv", python=True),
        Row(0.2, None, "irq_end: ends an interrupt", python=False),
    ]
    assert exits.rows([]) == []


def test_the_functions_that_exits_come_from_are_in_an_image(tmp_path: Path) -> None:
    """The compiler may have put one in line, in every place that calls it."""
    (tmp_path / "net.py").write_text("import socket\n")
    done = floe("build", tmp_path / "net.py", "-o", tmp_path / "net.elf")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "net.elf").open("rb") as file:
        known = {symbol.name for symbol in names.read(ELFFile(file))}
    assert set(exits.PLACES) <= known
