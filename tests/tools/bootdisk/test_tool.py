# SPDX-License-Identifier: MIT
"""Programs of other packages: what their failures become."""

from __future__ import annotations

import pytest

from floe.bootdisk import tool
from floe.errors import DiskFull, FloeError


def test_its_words_are_the_evidence() -> None:
    with pytest.raises(FloeError) as caught:
        tool.run(["sh", "-c", "echo out; echo $WHY >&2; exit 3"], {"WHY": "because"})
    assert (caught.value.message, caught.value.evidence) == ("sh failed", "because\nout")


def test_a_full_disk_is_told_as_one() -> None:
    with pytest.raises(DiskFull):
        tool.run(["sh", "-c", "LC_ALL=C cat /etc/hostname > /dev/full"])


def test_no_program_takes_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "_TIMEOUT_S", 0.1)
    with pytest.raises(FloeError, match=r"sleep did not end within 0.1 s"):
        tool.run(["sleep", "60"])
