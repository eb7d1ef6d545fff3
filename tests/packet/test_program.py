# SPDX-License-Identifier: MIT
"""Programs that lie are refused, and whatever is taken runs within its bounds, under sanitizers. FLOE_PROGRAM_FUZZ sets
how many spoiled programs are tried."""

from __future__ import annotations

import os
import struct
from random import Random
from typing import Any

import pytest

from tests.packet.anyrules import Maker
from tests.packet.language import part
from tests.packet.language import rules as r
from tests.packet.ruleengine import Engine

ROUNDS = int(os.environ.get("FLOE_PROGRAM_FUZZ", "200000"))
p: Any = part("program")
F, Op = p.F, p.Op
ACCEPT, RETURN = [Op.ACCEPT, 0, 0, 0, 0, 0], [Op.RETURN, 0, 0, 0, 0, 0]


def made(
    code: list[list[int]],
    chains: list[tuple[int, ...]] | None = None,
    entry: tuple[int, ...] = (0, 0, 0, 0),
    **tables: Any,
) -> bytes:
    """A program by hand, of one chain for every hook unless others are given."""
    t = p.Tables()
    for name, value in tables.items():
        setattr(t, name, value)
    content = t.pack(entry, [(0, len(code), len(code), 1, 15)] if chains is None else chains, code)
    assert isinstance(content, bytes)
    return content


CALL = [[Op.CALL, 0, 0, 1, 0, 0], ACCEPT, RETURN]
SWITCH = [[Op.SWITCH, F.PROTO, 0, 0, 2, 1], [Op.COUNT, 0, 0, 0, 0, 0], ACCEPT]
SET = [[Op.SET, F.PROTO, 0, 0, 0, 1], ACCEPT]
NAMES: dict[str, Any] = {"names": [(0, 1), (1, 1)], "text": b"ab"}


def test_such_programs_are_taken(engine: Engine) -> None:
    assert engine.load(made([ACCEPT]))
    assert engine.load(made(CALL, [(0, 2, 3, 2, 15), (2, 3, 1, 1, 15)]))
    assert engine.load(made(SET, sets=[(0, 0, 2, p.NONE)], narrow=[(1, 2), (4, 5)]))
    assert engine.load(made([[Op.COUNT, 0, 0, 1, 0, 0], ACCEPT], counters=[0, 1], **NAMES))
    assert engine.load(made([[Op.LIMIT, 0, 0, 0, 0, 1], ACCEPT], limits=[(1, 1)]))
    assert engine.load(made(SWITCH, cases=[(1, 2, 1), (3, 0xFFFFFFFF, 2)], counters=[0], **NAMES))
    assert engine.load(made([], [], (p.NONE,) * 4))


@pytest.mark.parametrize(
    "content",
    [
        made([]),
        made([[Op.COUNT, 0, 0, 0, 0, 0]], counters=[0], **NAMES),  # nothing behind it
        made([[16, 0, 0, 0, 0, 0]]),
        made([[255, 0, 0, 0, 0, 0], ACCEPT]),
        made([RETURN]),  # where no chain has called
        made([[Op.RANGE, 0, 0, 0, 0, 0], ACCEPT]),  # to itself
        made([[Op.RANGE, 0, 0, 0, 0, 2], ACCEPT]),
        made([[Op.RANGE, 0, 0, 0, 0, 0xFFFFFFFF], ACCEPT]),
        made([[Op.RANGE, F.SRC6, 0, 0, 0, 1], ACCEPT]),
        made([[Op.RANGE, 21, 0, 0, 0, 1], ACCEPT]),
        made([[Op.RANGE, 0, 2, 0, 0, 1], ACCEPT]),
        made([ACCEPT, [Op.RANGE, 0, 0, 0, 0, 0], ACCEPT]),  # backwards
        made(SET),
        made([[Op.SET, F.SRC6, 0, 0, 0, 1], ACCEPT], sets=[(0, 0, 1, p.NONE)], narrow=[(1, 2)]),
        made(SET, sets=[(1, 0, 1, p.NONE)], wide=[(1, 2)]),
        made(SET, sets=[(0, 0, 3, p.NONE)], narrow=[(1, 2), (4, 5)]),
        made(SET, sets=[(0, 2, 1, p.NONE)], narrow=[(1, 2), (4, 5)]),
        made(SET, sets=[(0, 0xFFFFFFFF, 2, p.NONE)], narrow=[(1, 2), (4, 5)]),
        made(SET, sets=[(0, 0, 2, p.NONE)], narrow=[(1, 4), (4, 5)]),
        made(SET, sets=[(0, 0, 2, p.NONE)], narrow=[(4, 5), (1, 2)]),
        made(SET, sets=[(0, 0, 1, p.NONE)], narrow=[(2, 1)]),
        made(SET, sets=[(0, 0, 1, 0)], narrow=[(1, 2)]),  # a name that is not there
        made(SET, sets=[(2, 0, 1, p.NONE)], narrow=[(1, 2)]),
        made([[Op.COUNT, 0, 0, 0, 0, 0], ACCEPT]),
        made([ACCEPT], counters=[1, 0], **NAMES),  # not in order
        made([ACCEPT], counters=[0, 0], **NAMES),
        made([ACCEPT], counters=[2], **NAMES),
        made([ACCEPT], names=[(0, 3)], text=b"ab"),
        made([ACCEPT], names=[(0xFFFFFFFF, 2)], text=b"ab"),
        made([ACCEPT], names=[(0, 48)], text=b"a" * 48),
        made([[Op.LOG, 0, 0, 0, 0, 0], ACCEPT]),
        made([[Op.LIMIT, 0, 0, 0, 0, 1], ACCEPT]),
        made([ACCEPT], limits=[(0, 1)]),
        made([ACCEPT], limits=[(1, 0)]),
        made([ACCEPT], limits=[(1, p.BURST + 1)]),
        made([ACCEPT], limits=[(p.PERIOD + 1, 1)]),
        made(SWITCH, cases=[(1, 2, 1)], counters=[0], **NAMES),
        made(SWITCH, cases=[(1, 2, 1), (3, 4, 2), (5, 6, 2)], counters=[0], **NAMES),  # nobody's
        made(SWITCH, cases=[(1, 2, 1), (2, 4, 2)], counters=[0], **NAMES),
        made(SWITCH, cases=[(1, 2, 1), (4, 3, 2)], counters=[0], **NAMES),
        made(SWITCH, cases=[(1, 2, 0), (3, 4, 2)], counters=[0], **NAMES),  # to itself
        made(SWITCH, cases=[(1, 2, 1), (3, 4, 3)], counters=[0], **NAMES),
        made([[Op.SWITCH, F.SRC6, 0, 0, 2, 1], ACCEPT], cases=[(1, 2, 1), (3, 4, 1)]),
        made(
            [[Op.SWITCH, F.PROTO, 0, 0, 1, 1], [Op.SWITCH, F.PROTO, 0, 0, 1, 2], ACCEPT], cases=[(1, 2, 2)]
        ),  # of both
        made(
            [[Op.SWITCH, F.PROTO, 0, 1, 1, 1], [Op.SWITCH, F.PROTO, 0, 0, 1, 2], ACCEPT], cases=[(1, 2, 2), (1, 2, 2)]
        ),
        made([[Op.ACCEPT, 0, 0, 1, 0, 0]]),
        made([[Op.ACCEPT, 1, 0, 0, 0, 0]]),
        made([[Op.ACCEPT, 0, 0, 0, 0, 1]]),
        made([[Op.MASQUERADE, 0, 0, 0, 0, 0]]),  # from each hook
        made([[Op.DNAT, 0, 0, 0, 0, 0]], [(0, 1, 1, 1, 1)], (0, p.NONE, p.NONE, p.NONE)),  # no such target
        made([[Op.DNAT, 0, 0, 0, 0, 0]], [(0, 1, 1, 1, 4)], (p.NONE, p.NONE, 0, p.NONE), targets=[(0, 0, 1, 1)]),
        made([[Op.REJECT, 0, 0, 0, 0, 0]], [(0, 1, 1, 1, 1)], (0, p.NONE, p.NONE, p.NONE)),
        made([[Op.REJECT, 0, 0, 5, 0, 0]], [(0, 1, 1, 1, 4)], (p.NONE, p.NONE, 0, p.NONE)),
        made([ACCEPT], [(0, 1, 1, 1, 2)]),  # an entry that does not say so
        made([ACCEPT], entry=(1, 0, 0, 0)),
        made([ACCEPT, ACCEPT], [(0, 1, 1, 1, 15)]),  # code of no chain
        made([ACCEPT, ACCEPT], [(1, 2, 1, 1, 15)]),
        made([ACCEPT], [(0, 2, 2, 1, 15)]),
        made([ACCEPT], [(0, 1, 2, 1, 15)]),
        made([ACCEPT], [(0, 1, 1, 2, 15)]),
        made([ACCEPT], [(0, 1, 1, 1, 31)]),
        made([[Op.CALL, 0, 0, 0, 0, 0], ACCEPT], [(0, 2, 4, 2, 15)]),  # itself
        made(CALL, [(0, 2, 3, 1, 15), (2, 3, 1, 1, 15)]),
        made(CALL, [(0, 2, 2, 2, 15), (2, 3, 1, 1, 15)]),
        made(CALL, [(0, 2, 3, 2, 15), (2, 3, 1, 1, 7)]),  # fewer hooks than its caller
        made([*CALL[:2], [Op.CALL, 0, 0, 0, 0, 0], RETURN], [(0, 2, 4, 2, 15), (2, 4, 2, 1, 15)]),  # an earlier one
        made([[Op.RANGE, 0, 0, 0, 0, 2], *CALL], [(0, 3, 4, 2, 15), (3, 4, 1, 1, 15)])[:-16],
        made([ACCEPT])[:79],
        made([ACCEPT]) + bytes(8),
    ],
)
def test_such_programs_are_refused(engine: Engine, content: bytes) -> None:
    assert not engine.load(content)


def test_a_header_that_lies(engine: Engine) -> None:
    good = made(SET, sets=[(0, 0, 2, p.NONE)], narrow=[(1, 2), (4, 5)], counters=[0, 1], **NAMES)
    assert engine.load(good)
    for at in range(0, p.HEAD, 4):
        (value,) = struct.unpack_from("<I", good, at)
        for wrong in (value + 1, value - 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 1 << 28, 0x15555556):
            if wrong == -1 and 12 <= at < 28:
                continue  # no chain at a hook: a program, too
            spoiled = good[:at] + struct.pack("<I", wrong & 0xFFFFFFFF) + good[at + 4 :]
            assert not engine.load(spoiled), (at, wrong)


def test_too_deep(engine: Engine) -> None:
    def nested(depth: int) -> bytes:
        code = [insn for i in range(depth - 1) for insn in ([Op.CALL, 0, 0, i + 1, 0, 0], ACCEPT if i == 0 else RETURN)]
        last = 2 * (depth - 1)
        chains = [(2 * i, 2 * i + 2, 2 * (depth - 1 - i) + 1, depth - i, 15) for i in range(depth - 1)]
        return made([*code, RETURN], [*chains, (last, last + 1, 1, 1, 15)])

    assert engine.load(nested(16))
    engine.fuzz(1, 10)  # runs it, too
    assert not engine.load(nested(17))


def test_spoiled_programs(engine: Engine) -> None:
    taken = tried = 0
    seed = 0
    while tried < ROUNDS:
        seed += 1
        random = Random(seed)
        content = Maker(random).rule_set().compile().bytes
        assert engine.load(content)
        rounds = max(50, min(2000, 400000 // len(content)))
        taken += engine.fuzz(seed, rounds)
        tried += rounds
    assert ROUNDS // 100 < taken < ROUNDS * 3 // 4


def test_bytes_at_random(engine: Engine) -> None:
    random = Random(1)
    head = made([ACCEPT])[:12]
    for _ in range(2000):
        body = random.randbytes(random.randrange(400))
        size = struct.pack("<I", p.HEAD + len(body))
        counts = b"".join(struct.pack("<I", random.choice((0, 0, 1, 2, random.randrange(1 << 32)))) for _ in range(17))
        engine.load(head[:8] + size + counts + body)
    assert r.RuleSet().compile().bytes[:8] == head[:8]
