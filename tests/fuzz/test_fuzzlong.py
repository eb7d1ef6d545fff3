# SPDX-License-Identifier: MIT
"""The long run: turns until each target has had its executions, a record that a later run goes on from."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import fuzzlong, hostfuzz
from tests.fuzz.fuzztargets import HERE, targets


def test_turns_go_round_until_all_have_had_their_executions(tmp_path: Path) -> None:
    path, seen = tmp_path / "record.toml", []

    def turn(name: str, most: int) -> fuzzlong.Turn:
        def taken(turns: int, runs: int) -> tuple[int, int, int]:
            seen.append((name, turns, runs))
            return min(most, runs), 7 - turns, 9

        return taken

    assert fuzzlong.rounds(path, {"slow": turn("slow", 40), "fast": turn("fast", 100)}, 100) == 0
    assert seen == [("slow", 0, 100), ("fast", 0, 100), ("slow", 1, 60), ("slow", 2, 20)]
    rows = fuzzlong.read(path)
    assert (rows["slow"].executions, rows["slow"].turns, rows["slow"].edges, rows["slow"].of) == (100, 3, 7, 9)
    assert rows["fast"].date and rows["fast"].commit
    # It goes on from there, and what another target did stays.
    seen.clear()
    assert fuzzlong.rounds(path, {"slow": turn("slow", 40)}, 130) == 0
    assert seen == [("slow", 3, 30)]
    assert fuzzlong.read(path)["fast"] == rows["fast"]


def test_what_crashed_has_no_further_turn(tmp_path: Path) -> None:
    path, seen = tmp_path / "record.toml", []

    def bad(turns: int, runs: int) -> tuple[int, int, int] | None:
        seen.append(turns)
        return None if turns == 1 else (10, 1, 2)

    assert fuzzlong.rounds(path, {"bad": bad, "good": lambda turns, runs: (50, 1, 2)}, 100) == 1
    assert seen == [0, 1]
    assert {name: row.executions for name, row in fuzzlong.read(path).items()} == {"bad": 10, "good": 100}


def test_the_committed_record_is_of_targets_that_there_are(tmp_path: Path) -> None:
    rows = fuzzlong.read(HERE / "record.toml")
    assert rows.keys() <= targets().keys() | hostfuzz.TARGETS.keys()
    assert all(row.executions > 0 and row.turns > 0 and row.date and row.commit for row in rows.values())
    again = tmp_path / "record.toml"
    fuzzlong.write(again, rows)
    assert again.read_text() == (HERE / "record.toml").read_text()
