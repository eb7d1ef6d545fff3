# SPDX-License-Identifier: MIT
"""samples.py: what is added up, and what of it stands in the table."""

from __future__ import annotations

import msgspec
import pytest

from floe.profile.samples import Frame, Row, Samples, Stack, rows

MAIN, WORK, AGAIN = ("a.py", 9, "main"), ("a.py", 4, "work"), ("a.py", 5, "work")


def told(
    *stacks: tuple[list[tuple[str, int, str]], str, int], seconds: float = 1.0, lost: int = 0, idle: int = 0
) -> dict[str, object]:
    return {
        "seconds": seconds,
        "lost": lost,
        "idle": idle,
        "stacks": [{"frames": [list(f) for f in frames], "c": c, "count": count} for frames, c, count in stacks],
    }


def test_parts_are_added_up() -> None:
    samples = Samples()
    samples.add(told(([MAIN, WORK], "add", 2), ([MAIN], "idle", 5), lost=1, idle=5))
    samples.add(told(([MAIN, WORK], "add", 3), ([MAIN, WORK], "mul", 1), seconds=0.5, idle=1))
    assert (samples.seconds, samples.lost, samples.count, samples.idle) == (1.5, 1, 11, 6)
    work = (Frame(*MAIN), Frame(*WORK))
    assert samples.stacks == [Stack(work, "add", 5), Stack((Frame(*MAIN),), "idle", 5), Stack(work, "mul", 1)]


def test_a_table_has_the_line_with_the_most_of_its_own_first_and_its_c_functions_below() -> None:
    samples = Samples()
    samples.add(told(([MAIN, WORK], "add", 6), ([MAIN, WORK], "mul", 2), ([MAIN], "call", 1), ([], "boot", 1)))
    assert rows(samples.stacks) == [
        Row(0.8, 0.8, "a.py:4 work", python=True),
        Row(0.6, None, "add", python=False),
        Row(0.2, None, "mul", python=False),
        Row(0.1, 0.9, "a.py:9 main", python=True),
        Row(0.1, None, "call", python=False),
        Row(0.1, 0.1, "(no Python)", python=True),
        Row(0.1, None, "boot", python=False),
    ]


def test_a_line_that_calls_itself_counts_once() -> None:
    samples = Samples()
    samples.add(told(([MAIN, WORK, WORK, AGAIN], "add", 3), ([MAIN, WORK], "add", 1)))
    totals = {row.text: row.total for row in rows(samples.stacks) if row.python}
    assert totals == {"a.py:5 work": 0.75, "a.py:4 work": 1.0, "a.py:9 main": 1.0}


def test_what_is_rare_and_what_is_much_are_left_out_of_the_table() -> None:
    samples = Samples()
    samples.add(told(([MAIN], "add", 996), ([WORK], "add", 4)))
    assert [row.text for row in rows(samples.stacks)] == ["a.py:9 main", "add"]
    samples = Samples()
    samples.add(told(*[([("a.py", line, "f")], f"c{line}", 10) for line in range(50)]))
    assert len([row for row in rows(samples.stacks) if row.python]) == 30


def test_no_samples_are_no_table() -> None:
    assert rows(Samples().stacks) == []


@pytest.mark.parametrize(
    "wrong", [{}, {"seconds": 1, "lost": 0, "idle": 0, "stacks": [{"frames": [["a"]], "c": "", "count": 1}]}]
)
def test_an_answer_of_another_form_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        Samples().add(wrong)
