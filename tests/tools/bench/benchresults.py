# SPDX-License-Identifier: MIT
"""Results as rounds would leave them, for the tests of what is made of them."""

from __future__ import annotations

from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Reading
from floe.bench.rounds import Result, Taken
from floe.bench.surroundings import Meanwhile

MS, RATE = Figure("ms", "time", "ms"), Figure("rate", "requests", "1/s", more_is_better=True)
CONTENDERS = (
    Contender("ours", lambda turn: iter(()), against="theirs", command="floe run '<app>'"),
    Contender("theirs", lambda turn: iter(())),
)
EXPERIMENT = Experiment(
    "web", "Web", "What is measured.", (MS, RATE), CONTENDERS, 3, 60, left_out=(LeftOut("nginx", "it is not here"),),
    axis="requests offered, 1/s",
)  # fmt: skip


def taken(who: str, number: int, *readings: Reading, seconds: float = 1, others: float = 0, failed: str = "") -> Taken:
    return Taken(who, number, readings, Meanwhile(seconds, others, 0.0, 1.5), failed)


def along_an_axis() -> Result:
    """Ours takes twice their time and fails in the last round; what is measured at 100 comes before 20."""
    found = Result(EXPERIMENT)
    for number in range(7):
        for who, factor in (("ours", 2.0), ("theirs", 1.0)):
            readings = [
                Reading({"ms": factor * (10 + number), "rate": 100 * factor}, "100/s", 100),
                Reading({"ms": factor}, "20/s", 20),
            ]
            broken = who == "ours" and number == 6
            found.taken.append(taken(who, number, *([] if broken else readings), failed="it broke" if broken else ""))
    return found


def without_an_axis() -> Result:
    """Named as no page and no picture may take them at their word."""
    experiment = Experiment("bars", "Bars $x_1$ </title><script>", "<b>&amp;", (MS,), CONTENDERS, 3, 60)
    found = Result(experiment, ended="interrupted")
    for number in range(3):
        for who, factor in (("ours", 2.0), ("theirs", 1.0)):
            readings = (Reading({"ms": factor * 10}, "alone"), Reading({"ms": factor * 30}, "<ten> & more"))
            found.taken.append(taken(who, number, *readings))
    return found
