# SPDX-License-Identifier: MIT
"""tools/floe/bench/memory.py: the search for the least, and what a web server with too little does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from floe.bench import guests, memory
from floe.bench.experiment import Turn
from floe.errors import TimedOut, VmError


def turn(seconds: float = 300) -> Turn:
    return Turn(0, True, time.monotonic() + seconds)


@pytest.mark.parametrize("truth", [2048, 2049, 2560, 3000, 4608, 7168, 32767, 32768])
@pytest.mark.parametrize("step", [128, 512])
def test_the_least_is_found_in_few_tries(truth: int, step: int) -> None:
    tried: list[int] = []

    def works(kib: int, seconds: float) -> bool:
        tried.append(kib)
        return kib >= truth

    assert memory.least(works, step, turn()) == -(-truth // step) * step
    assert len(tried) == len(set(tried)) <= 20
    assert all(kib % step == 0 and 2048 <= kib <= 32768 for kib in tried)


def test_what_never_works_has_no_least() -> None:
    with pytest.raises(VmError, match="with 32768 KiB either"):
        memory.least(lambda kib, seconds: False, 512, turn())


def test_a_search_without_time_tells_that_and_no_size() -> None:
    with pytest.raises(TimedOut, match="no time to find"):
        memory.least(lambda kib, seconds: True, 512, turn(3))


def test_a_web_server_serves_32_in_32_mebibytes_and_not_in_two() -> None:
    elf = guests.build(guests.WEB)
    assert memory._serves(elf, "tcg", 32, 32 << 10, 120)
    assert not memory._serves(elf, "tcg", 32, 2 << 10, 120)


def test_a_script_that_says_its_line(tmp_path: Path) -> None:
    says, dumb = tmp_path / "says.py", tmp_path / "dumb.py"
    says.write_text("print('hello')\n")
    dumb.write_text("pass\n")
    assert memory._says(guests.spec(guests.build(says), accel="tcg", memory="4M"), 60)
    assert not memory._says(guests.spec(guests.build(dumb), accel="tcg", memory="4M"), 60)
