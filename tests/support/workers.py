# SPDX-License-Identifier: MIT
"""A pytest plugin: how the tests are shared among workers, as `make test` starts them (pytest-xdist's option -n).

A file goes to one worker as a whole, whose fixtures of a module are made once then. What takes longest begins first, so that no worker ends long before another.

A test whose promise is an upper bound of time is marked `alone`: it runs while the other workers wait between two
tests, each of which holds the floor with the others, and such a one by itself.
"""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from typing import IO, Any

import pytest

# Files that go to one worker together: each lab has one machine, and the pages' commands have ports of the host's.
TOGETHER = {
    "labs": re.compile(r"(?:.*/)?tests/(kvm|xen)/"),
    "pages": re.compile(r"(?:.*/)?tests/(docs/|tools/cli/test_demo\.py)"),
}
# The order in which files are begun; those of other folders come between.
FIRST = ("tests/xen/", "tests/kvm/", "tests/upstream/", "tests/compilers/", "tests/docs/", "tests/wheel/")
LAST = ("tests/c/", "tests/check/")


class Floor:
    """Held while a test runs: with other processes, or alone.

    Who wants it takes his turn first, and waits with it: nobody comes in before one who waits to be alone."""

    def __init__(self, folder: Path) -> None:
        self._turn: IO[str] = (folder / "turn.lock").open("w")
        self._floor: IO[str] = (folder / "floor.lock").open("w")
        self.alone = False

    def enter(self, alone: bool) -> None:
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._floor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        self.alone = alone

    def leave(self) -> None:
        fcntl.flock(self._floor, fcntl.LOCK_UN)
        self.alone = False


FLOOR = pytest.StashKey[Floor]()


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker."""
    config.addinivalue_line("markers", "alone: no other worker runs a test meanwhile")
    if hasattr(config, "workerinput"):
        config.stash[FLOOR] = Floor(Path(config.getoption("basetemp")).parent)  # beside all workers' own folders


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest goes first; the order within a file stays."""
    if FLOOR in config.stash:
        items.sort(key=lambda item: _rank(item.nodeid.partition("::")[0]))


def _rank(file: str) -> int:
    order = (*FIRST, "", *LAST)
    return next((n for n, folder in enumerate(order) if folder and folder in file), len(FIRST))


def unit(name: str) -> str:
    """What goes to one worker with this test: a name of its own, or of its file."""
    return next((unit for unit, files in TOGETHER.items() if files.match(name)), name.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """pytest-xdist's own for groups of tests, with these groups."""
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

        def remove_node(self, node: Any) -> str | None:
            """A worker is gone: the test that it had fails, and is not tried again as pytest-xdist would."""
            lost = self.assigned_work.pop(node)
            crashed = next((test for tests in lost.values() for test, done in tests.items() if not done), None)
            if crashed is not None:
                lost[unit(crashed)][crashed] = True
                self.workqueue.update({name: tests for name, tests in lost.items() if not all(tests.values())})
                for other in self.assigned_work:
                    self._reschedule(other)
            return crashed

    config.option.loadscopereorder = False
    return Units(config, log)


def _is_alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Any:
    """Hold the floor. Who has it alone keeps it for the next one of the kind."""
    floor = item.config.stash.get(FLOOR, None)
    if floor is None:
        return (yield)
    if not floor.alone:
        floor.enter(_is_alone(item))
    try:
        return (yield)
    finally:
        if not (floor.alone and _is_alone(nextitem)):
            floor.leave()
