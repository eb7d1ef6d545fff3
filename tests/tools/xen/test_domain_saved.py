# SPDX-License-Identifier: MIT
"""The proxy process of a Xen domain that `xl save -c` saves: xl leaves it, and it is watched until its end."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakedomain import Fake, up


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    made = Fake(tmp_path)
    yield made
    made.close()


def listed(fake: Fake, state: str) -> None:
    """What `xl list 7` says from now on."""
    (fake.folder / "list.new").write_text(f"Name   ID   Mem VCPUs State Time(s)\nx      7    16     1 {state}  0.5\n")
    (fake.folder / "list.new").rename(fake.folder / "list")


def asked(fake: Fake) -> None:
    """`xl list 7` has been asked."""
    before, deadline = fake.calls().count("list"), time.monotonic() + 20
    while fake.calls().count("list") < before + 2:
        assert time.monotonic() < deadline and fake.process.poll() is None
        select.select([], [], [], 0.02)


@pytest.mark.parametrize(
    ("state", "said", "status", "word"),
    [
        ("---s--", "3 5", (3 + 1) << 1 | 1, "guest-shutdown"),
        ("---sr-", "122 5", (122 + 1) << 1 | 1, "guest-reset"),
        ("---sc-", "120 5", (120 + 1) << 1 | 1, "guest-panic"),
        ("---sw-", None, 0, "guest-panic"),
    ],
)
def test_a_domain_that_was_saved_goes_on(fake: Fake, state: str, said: str | None, status: int, word: str) -> None:
    """xl has left it by then."""
    up(fake)
    listed(fake, "---ss-")
    fake.ends(2, None)
    asked(fake)
    os.write(fake.master, b"hello")
    assert fake.console.recv(100) == b"hello"
    listed(fake, "-b----")
    asked(fake)
    if said is not None:
        fake.store("data/floe-exit", said)
    listed(fake, state)
    assert fake.event() == {"event": "SHUTDOWN", "data": {"reason": word}}
    assert fake.process.wait(20) == status
    assert fake.calls()[-1] == "destroy"


@pytest.mark.parametrize("state", [None, "-----d", "--p--d"])
def test_a_domain_that_was_saved_and_is_gone(fake: Fake, state: str | None) -> None:
    """One that is dying is: its pages may be held for long, and XenStore tells of no other end of it."""
    up(fake)
    if state is not None:
        listed(fake, state)
    fake.ends(2, None)
    event = fake.event()
    assert event["event"] == "FAILED" and "destroyed from outside" in str(event["data"])
    assert fake.process.wait(20) == 1
