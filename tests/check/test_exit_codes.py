# SPDX-License-Identifier: MIT
"""docs/exit-codes.md is the one table of exit codes, and what it says is what the sources say."""

from __future__ import annotations

import re

from floe import errors
from floe.vm import outcome
from tests.check.tree import read

PAGE = "docs/exit-codes.md"


def rows() -> list[list[str]]:
    """Cells of the table's rows."""
    lines = [line for line in read(PAGE).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def span(cell: str) -> range:
    """ "2 to 119" or "3" """
    numbers = [int(number) for number in cell.split(" to ")]
    return range(numbers[0], numbers[-1] + 1)


def constants() -> dict[str, int]:
    """Those of errors.py and of the port, by name."""
    text = read("port/hal/internal.h") + read("port/script.c")
    found = {name: int(value) for name, value in re.findall(r"\b((?:HAL|CODE)_[A-Z_]+) = (\d+)", text)}
    ours = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert found["HAL_PANIC_CODE"] == ours["EXIT_PANIC"]
    assert found["CODE_NO_MEMORY"] == ours["EXIT_OUT_OF_MEMORY"]
    assert (found["CODE_OK"], found["CODE_EXCEPTION"]) == (ours["EXIT_OK"], ours["EXIT_SCRIPT_ERROR"])
    return ours | {name: found[name] for name in ("HAL_RESET_CODE", "HAL_WAKE_CODE")} | {"": found["CODE_MAX"]}


def test_every_code_has_a_row_and_every_row_a_code() -> None:
    named = {constant.strip("`"): span(code)[-1] for code, _, constant, _, _ in rows()}
    assert named == constants()


def test_what_qemu_and_xen_say_for_a_code() -> None:
    for code, _, _, status, xen in rows():
        if status:
            assert [2 * n + 3 for n in span(code)] == list(span(status))[::2]
            assert xen == code
            outcomes = [outcome.judge(2 * n + 3, "guest-shutdown") for n in span(code)]
            assert [ended.code if ended else None for ended in outcomes] == list(span(code))
        else:
            assert span(code)[0] >= errors.EXIT_TIMED_OUT  # the host's own


def test_a_reset_is_known_by_its_status() -> None:
    told = {constant.strip("`"): int(status) for _, _, constant, status, _ in rows() if constant.startswith("`HAL_")}
    assert list(outcome.RESETS) == [told["HAL_RESET_CODE"], told["HAL_WAKE_CODE"]]
