# SPDX-License-Identifier: MIT
"""The simulation: seeds that hold what was promised, one run a seed, and a bug planted in each layer that is found;
with servers of C, and with images' scripts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sim.__main__ import seeds_of
from tests.sim.scripts import SCRIPTS
from tests.sim.simbuild import ROOT, Simulation
from tests.sim.simrun import Outcome, Record, run_seeds, run_side_by_side

SEEDS = 200
SCRIPT_SEEDS = 30
STEP = 10


@dataclass(frozen=True)
class Planted:
    """A bug: what a source says instead of what it said, the broken promise that tells, in at most so many seeds."""

    file: str
    was: str
    instead: str
    broken: str
    within: int


PLANTED = {
    "driver": Planted(
        "modules/virtio/virtqueue.c",
        "return passed < fresh;",
        "return passed + 1 < fresh;",  # a lone buffer is never notified of
        "stuck|stand still|long after|nothing was wrong|mount|cannot be",
        30,
    ),
    "glue": Planted(
        "modules/lwip/netglue.c",
        "(f.csum_good ? CHECK_ALL & ~CHECK_TRANSPORT : CHECK_ALL)",
        "(CHECK_ALL & ~CHECK_TRANSPORT)",  # nobody looks at checksums
        "came back wrong|nobody has sent|is wrong|another",
        60,
    ),
    "socket": Planted(
        "modules/lwip/sock_tcp.c",
        "        recved(pcb, done);\n        if (s->rx_head",
        "        if (s->rx_head",  # the window never opens again
        "stuck|nothing was wrong|long after",
        30,
    ),
    "disk": Planted(
        "modules/blkdev/blkdev.c",
        "r = b->unflushed ? flush_device(b) : 0;",
        "r = 0;",  # a commit may reach the medium before what it is about
        "torn|acknowledged|is wrong|mount|cannot be|does not open|another",
        200,
    ),
    "server": Planted(
        "tests/sim/store.c",
        '    e = e == 0 ? lfs2_file_sync(&fs, &file) : e;\n    if (e != 0) {\n        sim_broken("a value',
        '    if (e != 0) {\n        sim_broken("a value',  # acknowledged, and not yet on the medium
        "was acknowledged",
        30,
    ),
}
PLANTED_SCRIPT = {
    "redis": Planted(
        "images/redis/appendlog.py",
        "                self._file.flush()\n",
        "",  # acknowledged, and not yet on the medium
        "was acknowledged",
        30,
    ),
    "web": Planted(
        "images/web/connection.py",
        "out[0] = memoryview(piece)[sent:]",
        "out[0] = piece",  # what was sent in part is sent once more
        "is wrong|asked for|that nobody asked for|without an end",
        30,
    ),
    "web, without memory": Planted(
        "images/web/message.py",
        '        wire = self.head("", date)\n',
        '        self.date = date\n        wire = self.head("", date)\n',  # what was not made counts as made
        "asked for|are to come|without an end",
        30,
    ),
}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return Simulation(tmp_path_factory.mktemp("sim"), sanitize=False)


@pytest.fixture(scope="module")
def program(simulation: Simulation) -> Path:
    return simulation.program("main")


@pytest.fixture(scope="module")
def outcomes(program: Path) -> list[Outcome]:
    return [o for chunk in run_side_by_side(program, list(range(SEEDS)), 2) for o in chunk]


def test_nothing_is_broken(outcomes: list[Outcome]) -> None:
    assert [o for o in outcomes if o.broken] == []
    assert [o.seed for o in outcomes] == list(range(SEEDS))


def test_a_seed_is_one_run_wherever_it_begins(program: Path, outcomes: list[Outcome]) -> None:
    """Nothing of an earlier seed is left, and nothing depends on where the program lies in memory."""
    for seed in (0, 7, SEEDS - 1):
        assert run_seeds(program, seed, 1) == [outcomes[seed]]
    assert len({o.trace for o in outcomes}) == SEEDS


@pytest.mark.parametrize("layer", PLANTED)
def test_a_planted_bug_is_found(simulation: Simulation, layer: str) -> None:
    bug = PLANTED[layer]
    _find(simulation.program(layer, _planted(bug)), bug)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_keeps_what_it_promised(simulation: Simulation, name: str) -> None:
    """And its runs are the same each time, whatever was run before."""
    program = simulation.program(f"script-{name}", script=SCRIPTS[name])
    outcomes = [o for chunk in run_side_by_side(program, list(range(SCRIPT_SEEDS)), 2, chunk=10) for o in chunk]
    assert [o for o in outcomes if o.broken] == []
    assert run_seeds(program, SCRIPT_SEEDS - 1, 1) == outcomes[-1:]
    assert len({o.trace for o in outcomes}) == SCRIPT_SEEDS


@pytest.mark.parametrize("name", PLANTED_SCRIPT)
def test_a_bug_in_a_script_is_found(simulation: Simulation, name: str) -> None:
    bug = PLANTED_SCRIPT[name]
    script = SCRIPTS[name.partition(",")[0]]
    _find(simulation.program(f"planted-{script.name}", _planted(bug), script), bug)


def _planted(bug: Planted) -> dict[Path, str]:
    source = ROOT / bug.file
    text = source.read_text()
    assert text.count(bug.was) == 1, f"{bug.file} has changed: plant another bug"
    return {source: text.replace(bug.was, bug.instead)}


def _find(planted: Path, bug: Planted) -> None:
    for first in range(0, bug.within, STEP):
        found = [o for o in run_seeds(planted, first, STEP) if o.broken]
        if found:
            assert re.search(bug.broken, found[0].broken), found[0]
            return
    pytest.fail(f"not found in {bug.within} seeds")


def test_a_record_goes_on_where_it_ended(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    record = Record.load(file, "abc")
    record.add([Outcome(0, "", 10, 2000, ""), Outcome(1, "", 5, 1000, "torn")])
    record.add([Outcome(4, "", 1, 1000, "")])
    again = Record.load(file, "abc")
    assert again.spans == [(0, 1), (4, 4)]
    assert (again.events, again.virtual_s, again.broken) == (16, 4, {"1": "torn"})
    assert again.missing(range(6)) == [2, 3, 5]
    again.add([Outcome(2, "", 1, 0, ""), Outcome(3, "", 1, 0, "")])
    assert again.spans == [(0, 4)]
    assert Record.load(file, "another").missing(range(2)) == [0, 1]
    assert Record.load(file, "abc", "redis").missing(range(2)) == [0, 1]


def test_seeds_are_one_or_a_span() -> None:
    assert list(seeds_of("7")) == [7]
    assert list(seeds_of("3-5")) == [3, 4, 5]
