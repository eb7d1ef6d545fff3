# SPDX-License-Identifier: MIT
"""`floe bench`: a run with real VMs leaves a whole report, Ctrl-C leaves one and no QEMU, bad words are refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from floe.bench import experiments, peers, plots
from floe.bench.experiment import Contender, Experiment, Figure, Options, Reading, Turn
from floe.cli.bench import command
from tests.support.command import FLOE, failure, floe
from tests.support.vms import until

WAIT_S = 300
STAMPS = {"kernel_entry", "first_python_line", "first_byte"}


def the_report(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "bench.json").read_text())
    return told


def test_boot_is_measured(tmp_path: Path) -> None:
    done = floe("bench", "boot", "--quick", "--rounds", "1", "--accel", "tcg", "-o", tmp_path, timeout_s=WAIT_S)
    assert done.returncode == 0, done.stderr
    told = the_report(tmp_path)
    (boot,) = told["experiments"]
    assert told["command"].endswith(f"bench boot --quick --rounds 1 --accel tcg -o {tmp_path}")
    assert (told["interrupted"], boot["ended"], boot["rounds"]) == (False, "", 1)
    assert [one["contender"] for one in boot["taken"]] == ["Floe, TCG, microvm", "bare guest, TCG, microvm"]
    ours, bare = (one["readings"] for one in boot["taken"])
    assert [reading["at"] for reading in ours] == ["alone", "10 at once"]
    assert set(ours[0]["values"]) == STAMPS
    for reading in ours:
        values = reading["values"]
        assert 0 < values["kernel_entry"] < values["first_python_line"] < values["first_byte"]
    assert ours[1]["values"]["all_served"] >= ours[1]["values"]["first_byte"]
    assert set(bare[0]["values"]) == {"first_byte"}
    assert [(row["contender"], row["against"], row["at"]) for row in boot["ratios"]] == [
        ("Floe, TCG, microvm", "bare guest, TCG, microvm", "alone")
    ]
    assert {one["name"] for one in boot["left_out"]} == {"Floe, KVM", "machine q35"}
    pictures = {f"boot-{key}.{kind}" for key in [*STAMPS, "all_served"] for kind in ("svg", "png")}
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.csv", "bench.html"} | pictures
    assert (tmp_path / "bench.html").read_text().count("<img ") == 4
    lines = list(csv.DictReader((tmp_path / "bench.csv").open()))
    assert len(lines) == 3 + 4 + 1
    assert done.stdout.index("Ratios of medians") < done.stdout.index("Medians") < done.stdout.index("Others took")
    assert "round 1/1: Floe, TCG, microvm (" in done.stderr


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob(f"{pid}/task/*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            found += map(int, path.read_text().split())
    return found


def is_qemu(pid: int) -> bool:
    try:
        return "qemu" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_report_and_no_qemu(tmp_path: Path, number: signal.Signals) -> None:
    argv = [*FLOE, "bench", "boot", "--quick", "--rounds", "1000", "--accel", "tcg", "-o", str(tmp_path)]
    seen: list[int] = []

    def running() -> bool:
        seen.extend(filter(is_qemu, children(process.pid)))
        return len(set(seen)) > 1

    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until(running, "the second QEMU", WAIT_S)
        process.send_signal(number)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130, said
    assert "interrupted: this is what was measured until then" in said
    assert [pid for pid in set(seen) if Path(f"/proc/{pid}").exists()] == []
    told = the_report(tmp_path)
    assert told["interrupted"] is True
    assert told["experiments"][0]["ended"] == "interrupted"
    assert told["experiments"][0]["taken"][-1]["failed"] == "interrupted"


def prepared(monkeypatch: pytest.MonkeyPatch, **measures: Callable[[Turn], Iterator[Reading]]) -> None:
    """In the place of all experiments there are these, of one contender and one round each."""

    def prepare(name: str, options: Options) -> Experiment:
        one = Contender("a", measures[name])
        return Experiment(name, name, "What is measured.", (Figure("ms", "time", "ms"),), (one,), 1, 60)

    monkeypatch.setattr(experiments, "EXPERIMENTS", dict.fromkeys(measures, ""))
    monkeypatch.setattr(experiments, "prepare", prepare)


def steady(turn: Turn) -> Iterator[Reading]:
    yield Reading({"ms": 1.0})


def test_numbers_are_written_behind_each_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is unforeseen in one loses none of those before it."""

    def wrong(turn: Turn) -> Iterator[Reading]:
        yield from ()
        raise IndexError

    prepared(monkeypatch, first=steady, second=wrong)
    monkeypatch.setattr(plots, "check", lambda: None)
    with pytest.raises(IndexError):
        command.callback(("all",), True, "tcg", None, (), tmp_path)  # type: ignore[misc]  # click: Callable | None
    assert [one["name"] for one in the_report(tmp_path)["experiments"]] == ["first"]
    assert len((tmp_path / "bench.csv").read_text().splitlines()) == 2


def test_what_a_build_meets_skips_its_experiment_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(monkeypatch, first=steady, second=steady)
    prepare = experiments.prepare

    def full(name: str, options: Options) -> Experiment:
        if name == "first":
            raise OSError(28, "No space left on device")
        return prepare(name, options)

    monkeypatch.setattr(experiments, "prepare", full)
    assert command.callback(("all",), True, "tcg", None, (), None) == 1  # type: ignore[misc]  # click: Callable | None
    said = capsys.readouterr()
    assert "first was not measured: OSError: [Errno 28] No space left on device" in said.err
    assert "second: What is measured." in said.out


def test_a_report_is_written_where_nobody_reads_what_is_printed(tmp_path: Path) -> None:
    """Both streams are a pipe whose reader has gone, as behind `2>&1 | head -1`."""
    argv = [*FLOE, "bench", "boot", "--quick", "--rounds", "1", "--accel", "tcg", "-o", str(tmp_path)]
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as gone:
        subprocess.run(argv, stdout=gone, stderr=gone, timeout=WAIT_S, check=False)
    assert the_report(tmp_path)["experiments"][0]["taken"]
    assert (tmp_path / "bench.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "says", "hint"),
    [
        (["nothing"], 125, "there is no experiment nothing", "one of boot"),
        ([], 125, "Missing argument 'EXPERIMENT...'", "floe bench --help"),
        (["boot", "-o", "/dev/null/x"], 125, "-o /dev/null/x: ", "name a folder that can be written"),
        (["boot", "--accel", "xen"], 125, "'xen' is not one of", "floe bench --help"),
        (["boot", "--rounds", "0"], 125, "0 is not in the range", "floe bench --help"),
    ],
)
def test_bad_words_are_refused(words: list[str], code: int, says: str, hint: str) -> None:
    cause, _, tried = failure("bench", *words, code=code)
    assert says in cause
    assert tried.startswith(hint)


@pytest.mark.parametrize(
    ("serves", "names", "code", "says", "hint"),
    [
        ('["json"]', ["boot", "dns"], 125, "serves json, which boot, dns does not compare", "floe bench http --peer"),
        ('["bulk", "dns"]', ["http"], 125, "serves bulk, dns, which http does not compare", "floe bench dns --peer"),
        ('["gopher"]', ["boot"], 125, "serves: invalid enum value 'gopher'", "docs/bench.md"),
        (None, ["boot"], 127, "cannot read the peer ", "docs/bench.md has an example"),
    ],
)
def test_a_peer_that_would_not_be_compared_is_refused_before_anything_is_measured(
    serves: str | None, names: list[str], code: int, says: str, hint: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    if serves is not None:
        file.write_text(f'title = "Mine"\nkind = "own"\ncommand = ["true"]\nserves = {serves}\n')
    cause, _, tried = failure("bench", *names, "--quick", "--peer", str(file), code=code)
    assert says in cause
    assert tried.startswith(hint)


def test_each_service_is_an_experiment_s() -> None:
    served = [service for services in experiments.SERVES.values() for service in services]
    assert sorted(served) == sorted(peers.SERVICES)
    assert set(experiments.SERVES) <= set(experiments.EXPERIMENTS)


def test_another_host_is_not_measured() -> None:
    done = floe("bench", "boot", env={**os.environ, "FLOE_HOST": "far"})
    assert done.returncode == 125
    assert "for VMs of this machine" in done.stderr


def test_each_experiment_is_one_that_can_be_prepared() -> None:
    assert experiments.chosen(["all"]) == list(experiments.EXPERIMENTS)
    assert experiments.chosen(["boot", "boot"]) == ["boot"]
    for name in experiments.EXPERIMENTS:
        assert callable(__import__(f"floe.bench.{name}", fromlist=["prepare"]).prepare)
