# SPDX-License-Identifier: MIT
"""floe.vm.outcome, without a VM: events and exit statuses in, outcomes and failures out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from floe.vm.outcome import RESETS, Ending, Failure, Outcome, evidence

HARD, DEEPSLEEP = RESETS
ASKED = Outcome(130, "interrupt")
PANIC = (120 + 1) << 1 | 1
Event = tuple[str, Mapping[str, Any]]


def shutdown(reason: str) -> Event:
    return ("SHUTDOWN", {"reason": reason})


STOP: Event = ("STOP", {})
FAILED: Event = ("FAILED", {"message": "no room", "evidence": "xl: said so", "hint": "less"})


def ended(status: int | None, *steps: Event | str, watched: bool = True) -> Outcome | Failure:
    """The result of a VM whose life had these steps. "ask": its owner ended it; "ask, panic": by making it panic."""
    ending = Ending("QEMU", watched=watched)
    for step in steps:
        if isinstance(step, str):
            ending.ask(ASKED, made_to_panic="panic" in step)
        else:
            ending.on_event(*step)
    return ending.result(status)


@pytest.mark.parametrize(
    ("status", "steps", "outcome"),
    [
        # The guest's own end, by its code, whatever is asked meanwhile.
        (3, [], Outcome(0, "exit")),
        (3, ["ask"], Outcome(0, "exit")),
        ((42 + 1) << 1 | 1, [shutdown("guest-shutdown")], Outcome(42, "exit")),
        (PANIC, [], Outcome(120, "panic")),
        ((121 + 1) << 1 | 1, [], Outcome(121, "memory")),
        (0, [shutdown("guest-shutdown")], Outcome(0, "poweroff")),
        (0, [shutdown("guest-reset")], Outcome(120, "crash")),
        # What its owner asked for.
        (0, ["ask", shutdown("host-signal")], ASKED),
        (0, ["ask", shutdown("guest-shutdown")], ASKED),
        (-9, ["ask"], ASKED),
        (None, ["ask"], ASKED),
        (1, ["ask"], ASKED),
        (HARD, ["ask"], ASKED),
        (DEEPSLEEP, ["ask"], ASKED),
        (PANIC, ["ask, panic"], ASKED),
        (PANIC, ["ask"], Outcome(120, "panic")),  # it was faster
        (0, ["ask", "ask, panic", STOP], ASKED),  # the first wish counts, and a pause after it is no failure
        (1, ["ask", FAILED], ASKED),
    ],
)
def test_outcomes(status: int, steps: list[Event | str], outcome: Outcome) -> None:
    assert ended(status, *steps) == outcome
    if outcome.cause != "crash" or steps:
        assert ended(status, *steps, watched=False) == outcome


@pytest.mark.parametrize(
    ("status", "steps", "problem"),
    [
        (0, [shutdown("host-signal")], "QEMU was ended by a signal from outside"),
        (-9, [], "QEMU was killed by SIGKILL"),
        (-15, [shutdown("host-signal")], "QEMU was killed by SIGTERM"),
        (1, [], "QEMU failed with status 1"),
        (2, [shutdown("guest-shutdown")], "QEMU failed with status 2"),
        (-9, [STOP], "QEMU could not go on running the guest"),
        (-9, [STOP, "ask"], "QEMU could not go on running the guest"),
        (0, [STOP], "QEMU could not go on running the guest"),
        (1, [FAILED], "no room"),
    ],
)
def test_failures(status: int, steps: list[Event | str], problem: str) -> None:
    result = ended(status, *steps)
    assert isinstance(result, Failure)
    assert (result.problem, result.cause) == (problem, "failed")


def test_the_hypervisor_s_own_account_is_the_error() -> None:
    result = ended(1, FAILED)
    assert isinstance(result, Failure) and result.error is not None
    assert (result.error.message, result.error.evidence, result.error.hint) == ("no room", "xl: said so", "less")


@pytest.mark.parametrize(("status", "steps"), [(None, []), (0, []), (0, [shutdown("host-signal")])])
def test_an_end_that_a_keeper_may_have_missed(status: int | None, steps: list[Event]) -> None:
    assert ended(status, *steps, watched=False) == Failure("an end that nobody watched", "unknown")


def test_without_a_reason_it_is_a_crash_for_who_saw_all() -> None:
    assert ended(0) == Outcome(120, "crash")


def test_resets() -> None:
    ending = Ending("QEMU")
    assert (ending.reset(HARD), ending.reset(DEEPSLEEP)) == ("floe.reset=hard", "floe.reset=deepsleep")
    assert (ending.reset(0), ending.reset(3), ending.reset(PANIC)) == (None, None, None)
    ending.on_event(*shutdown("guest-shutdown"))
    ending.restarted()  # that was the start before
    assert ending.result(0) == Outcome(120, "crash")
    ending.ask(ASKED, made_to_panic=False)
    assert ending.reset(HARD) is None  # not again


def test_a_pause_asks_for_the_kill_once() -> None:
    ending = Ending("QEMU")
    assert not ending.on_event("RESUME", {})
    assert ending.on_event(*STOP)
    assert not ending.on_event(*STOP)
    assert ending.begun
    asked = Ending("QEMU")
    asked.ask(ASKED, made_to_panic=True)
    assert not asked.on_event(*STOP)


def test_evidence_has_first_messages_and_last_words() -> None:
    lines = evidence("QEMU", [f"m{n}" for n in range(30)], [f"g{n}" for n in range(30)]).splitlines()
    assert (lines[0], lines[19], lines[20], lines[-1]) == ("QEMU: m0", "QEMU: m19", "guest: g20", "guest: g29")
