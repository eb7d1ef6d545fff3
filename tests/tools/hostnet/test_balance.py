# SPDX-License-Identifier: MIT
"""Who gets the next connection to a port that is spread. With VMs: tests/target/test_spread.py."""

from __future__ import annotations

import pytest

from floe.hostnet import balance
from floe.hostnet.balance import Balance, Target

FIRST, A, B = (("127.0.0.1", port) for port in (1, 2, 3))


def test_the_first_vm_comes_last() -> None:
    family: list[Target] = []
    them = Balance(FIRST, lambda: family)
    assert them.order() == [FIRST]
    family += [A, B]
    assert them.order() == [A, B, FIRST]


def test_the_fewest_connections_and_then_turns() -> None:
    them = Balance(FIRST, lambda: [A, B])
    with them.carrying(A):
        assert them.order()[0] == B
        with them.carrying(B), them.carrying(B):
            assert them.order()[0] == A
    assert them.order()[0] == A  # B was chosen later
    with them.carrying(A):
        pass
    assert them.order()[0] == B


def test_who_refuses_comes_after_the_others_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    them = Balance(FIRST, lambda: [A, B])
    them.refused(A)
    with them.carrying(B):
        assert them.order() == [B, A, FIRST]
        monkeypatch.setattr(balance, "_SHUNNED_S", 0.0)
        assert them.order() == [A, B, FIRST]
