# SPDX-License-Identifier: MIT
"""restart.py: the words of --restart, and how long a VM waits for its next start."""

from __future__ import annotations

import pytest

from floe.errors import UsageError
from floe.spec.restart import Policy, delay_s, parse_restart


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("no", Policy()),
        ("on-failure", Policy("on-failure")),
        ("on-failure:5", Policy("on-failure", 5)),
        ("always", Policy("always")),
        ("always:1", Policy("always", 1)),
    ],
)
def test_words(text: str, policy: Policy) -> None:
    assert parse_restart(text) == policy
    assert str(policy) == text


@pytest.mark.parametrize(
    "text", ["", "yes", "no:3", "always:", "always:0", "always:-1", "on-failure:x", "Always", "on failure"]
)
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(UsageError) as e:
        parse_restart(text)
    assert e.value.message == f"--restart {text}: no such policy"
    assert "on-failure:5" in e.value.hint


def test_what_is_a_failure() -> None:
    codes = (0, 1, 119, 120, None)
    assert [parse_restart("no").wants(code) for code in codes] == [False] * 5
    assert [parse_restart("on-failure:1").wants(code) for code in codes] == [False, True, True, True, True]
    assert [parse_restart("always").wants(code) for code in codes] == [True] * 5


def test_how_often() -> None:
    assert [parse_restart("always:2").allows(done) for done in range(4)] == [True, True, False, False]
    assert parse_restart("always").allows(10**6)


def test_each_restart_waits_twice_as_long_up_to_a_minute() -> None:
    waits = [0.0]
    for _ in range(12):
        waits.append(delay_s(waits[-1], ran_s=1))
    assert waits[1:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])
    assert waits[-2:] == [60, 60]
    assert delay_s(60, ran_s=10) == 0.1  # it lasted
