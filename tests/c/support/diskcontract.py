# SPDX-License-Identifier: MIT
"""What a disk does whatever driver it has: the tests that the modules of both drivers run."""

from __future__ import annotations

import pytest

from tests.c.support.diskuser import DiskUser
from tests.c.support.harness import EINVAL


class DiskContract:
    """For a module with the fixture `disk`: 1 MiB, not yet up."""

    def test_whole_sectors_are_one_request(self, disk: DiskUser) -> None:
        disk.up()
        assert disk.write(8192, 8192) == 0
        assert disk.log() == "W8192+8192"
        assert disk.read(8192, 8192) == (0, 0)
        assert disk.log() == "R8192+8192"

    @pytest.mark.parametrize("latency", [10_000, 1_000_000, 3_000_000_000])
    def test_a_slow_disk(self, disk: DiskUser, latency: int) -> None:
        disk.h.do("disk_latency", latency)
        disk.up()
        assert disk.write(0, 4096) == 0
        assert disk.read(0, 4096) == (0, 0)
        assert disk.h.number("clock") >= 2 * latency

    def test_an_answer_just_in_time(self, disk: DiskUser) -> None:
        disk.up()
        disk.h.do("disk_fault", "late", 0)
        assert disk.write(0, 512) == 0
        assert disk.h.number("clock") > 29_000_000_000

    @pytest.mark.parametrize(("at", "n"), [(1 << 20, 1), ((1 << 20) - 1, 2), (1 << 62, 1), (0, (1 << 20) + 1)])
    def test_past_the_end(self, disk: DiskUser, at: int, n: int) -> None:
        disk.up()
        assert disk.write(at, n) == disk.read(at, n).result == disk.ordered(at, n) == EINVAL
        assert disk.log() == ""
        assert disk.write((1 << 20) - 1, 1) == 0
