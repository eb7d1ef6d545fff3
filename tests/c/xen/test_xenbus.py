# SPDX-License-Identifier: MIT
"""modules/xen/xenbus.c: finding devices, the two states, and a backend whose states are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import EINVAL, ETIMEDOUT, Died, Harness
from tests.c.support.xen_harness import (
    CLOSED,
    CLOSING,
    CONNECTED,
    INIT_WAIT,
    INITIALISED,
    INITIALISING,
    RECONFIGURING,
    UNKNOWN,
    Backend,
    build,
)

ENOENT, EACCES, ENOSPC = -2, -13, -28
MS = 1000000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("xenbus"), "xen_bus.c", "modules/xen/xenbus.c")


@pytest.fixture
def back(h: Harness) -> Backend:
    return Backend(h, "vif", 0)


def run(h: Harness) -> list[int]:
    """A turn of the main loop: the states that `changed` saw."""
    return [int(line.split()[1]) for line in h.do("run").splitlines() if line.startswith("changed")]


def test_list(h: Harness) -> None:
    assert h.numbers("list", "vif", 8) == [0]
    for number in (51728, 0, 51712, 7):
        Backend(h, "vbd", number)
    Backend(h, "vif", 3)
    assert h.numbers("list", "vbd", 8) == [4, 0, 7, 51712, 51728]
    assert h.numbers("list", "vbd", 2) == [2, 0, 7]
    assert h.numbers("list", "vbd", 0) == [0]
    for name in ("x", "1x", "-1", "9999999999"):
        h.do("xs_set", f"device/vbd/{name}/state", 1)
    assert h.numbers("list", "vbd", 8) == [4, 0, 7, 51712, 51728]
    h.do("xs_fail", "device/vbd", 13)
    assert h.numbers("list", "vbd", 8) == [EACCES]


def test_open(h: Harness, back: Backend) -> None:
    assert h.number("open", "vif", 0) == 0
    assert h.do("state") == f"{INITIALISING} {INIT_WAIT} {back.back} 0"
    assert run(h) == []  # fired at once, and nothing is new
    assert h.log == []


@pytest.mark.parametrize(
    ("path", "value", "err", "why"),
    [
        ("backend", None, ENOENT, "no backend is named (-2)"),
        ("backend", "local/domain/0", EINVAL, "the backend's path is none (-22)"),
        ("backend", "", EINVAL, "the backend's path is none (-22)"),
        ("backend", "/" + "x" * 300, EINVAL, "the backend's path is none (-22)"),
        ("backend", "/" + "x" * 224, EINVAL, "the backend's path is none (-22)"),
        ("backend-id", None, ENOENT, "the backend's domain is none (-2)"),
        ("backend-id", "32752", EINVAL, "the backend's domain is none (-22)"),
        ("backend-id", "-1", EINVAL, "the backend's domain is none (-22)"),
    ],
)
def test_a_folder_that_is_wrong(h: Harness, back: Backend, path: str, value: str | None, err: int, why: str) -> None:
    h.do("xs_rm" if value is None else "xs_set", f"{back.front}/{path}", value or "")
    assert h.number("open", "vif", 0) == err
    assert h.log == [f"xen vif/0: {why}"]
    h.do("close")  # of what is not open: nothing


def test_handshake(h: Harness, back: Backend) -> None:
    back.when(INITIALISED, CONNECTED)
    h.number("open", "vif", 0)
    assert h.number("switch", INITIALISED) == 0
    assert back.get("state") == str(INITIALISED)
    assert run(h) == [CONNECTED]
    assert run(h) == []
    back.state(RECONFIGURING)
    assert run(h) == [RECONFIGURING]
    for state in (CLOSING, CLOSED, INIT_WAIT, CONNECTED):
        back.state(state)
        assert run(h) == [state]


@pytest.mark.parametrize("was", [INITIALISED, CONNECTED, RECONFIGURING])
@pytest.mark.parametrize("now", [INITIALISING, INIT_WAIT])
def test_started_anew_is_closed_first(h: Harness, back: Backend, was: int, now: int) -> None:
    h.number("open", "vif", 0)
    back.state(was)
    assert run(h) == [was]
    back.state(now)
    assert run(h) == [CLOSED, now]


def test_changed_may_let_go(h: Harness, back: Backend) -> None:
    h.number("open", "vif", 0)
    back.state(CONNECTED)
    run(h)
    h.do("on_change", "close")
    back.state(INIT_WAIT)
    assert run(h) == [CLOSED]
    back.state(CONNECTED)
    assert run(h) == []
    assert h.number("open", "vif", 0) == 0  # it comes back
    back.state(CLOSING)
    assert run(h) == [CLOSING]


def test_a_folder_that_goes(h: Harness, back: Backend) -> None:
    h.number("open", "vif", 0)
    h.do("xs_rm", back.back)
    assert run(h) == [UNKNOWN]
    assert h.log == []


@pytest.mark.parametrize("text", ["9", "255", "-1", "4x", "", "18446744073709551620"])
def test_a_state_that_is_none(h: Harness, back: Backend, text: str) -> None:
    h.number("open", "vif", 0)
    run(h)
    h.do("xs_set", f"{back.back}/state", text)
    assert run(h) == []
    assert h.log == ["xen vif/0: the backend's state is none (-22)"]
    back.state(CONNECTED)
    assert run(h) == [CONNECTED]


def test_wait(h: Harness, back: Backend) -> None:
    h.number("open", "vif", 0)
    assert h.do("bwait", 1 << INIT_WAIT, 0) == "0"
    before = h.number("clock")
    assert h.do("bwait", 1 << CONNECTED, 50 * MS) == str(ETIMEDOUT)
    assert 50 * MS <= h.number("clock") - before < 60 * MS
    back.when(INITIALISED, CONNECTED)
    h.do("switch", INITIALISED)
    assert h.do("bwait", 1 << CONNECTED | 1 << CLOSED, 50 * MS) == "0"  # and `changed` said nothing
    assert run(h) == []


def test_numbers_of_the_backend(h: Harness, back: Backend) -> None:
    h.number("open", "vif", 0)
    back.set(feature__gso="1", text="abc", large="4294967296")
    assert h.do("num", "feature-gso", 1, 0) == "0 1"
    assert h.do("num", "feature-none", 1, 77) == "0 77"
    assert h.do("num", "text", 9, 0).startswith(str(EINVAL))
    assert h.do("num", "large", 4294967295, 0).startswith(str(EINVAL))


def test_a_store_that_refuses(h: Harness, back: Backend) -> None:
    h.number("open", "vif", 0)
    h.do("xs_fail", f"{back.front}/state", 28, 1)
    assert h.number("switch", CONNECTED) == ENOSPC
    assert h.log == [f"xen vif/0: our state cannot be written ({ENOSPC})"]
    assert h.do("state").startswith(f"{INITIALISING} ")
    h.do("xen", "dead", 1)
    assert h.number("switch", CONNECTED) == ETIMEDOUT


def test_a_watch_that_cannot_be(h: Harness, back: Backend) -> None:
    back.state(CONNECTED)
    h.do("xs_rm", f"{back.back}/state")
    h.do("xs_fail", f"{back.back}/state", 13)
    assert h.number("open", "vif", 0) == EACCES
    assert h.log[-1] == "xen vif/0: the backend cannot be watched (-13)"


def test_the_fake_catches_what_only_a_wrong_driver_does(h: Harness) -> None:
    with pytest.raises(Died, match="STRAY"):
        h.do("port_raise", 5)
