# SPDX-License-Identifier: MIT
"""port/xen without its store and grants: what is asked of Xen, event bits, waits, Xen's time, the first and last words."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

SELF = 0x7FF0
UPCALL, SEL, PENDING = 0, 1, 256  # 64-bit words of the shared page: vcpu 0's first two, evtchn_pending[0]
SECOND = 1_000_000_000
FOREVER = (1 << 64) - 1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("xen_core"), "xen_core")


@pytest.fixture
def h(h: Harness) -> Harness:
    h.do("start")
    h.do("pv", 2, 0, 0, 1 << 31, 1)  # one cycle is one nanosecond
    return h


def calls(text: str) -> list[tuple[int, int, bytes]]:
    found = []
    for line in text.splitlines():
        word, *rest = line.split(" ")
        if word == "call":
            found.append((int(rest[0]), int(rest[1]), bytes.fromhex(rest[2])))
    return found


def test_start_asks_for_the_64_bit_page(program: Path) -> None:
    with Harness(program) as h:
        text = h.do("start")
    assert text.splitlines()[-1] == "1"
    assert calls(text) == [
        (34, 0, struct.pack("<HHIQ", SELF, 0, 0, 1)),  # HVMOP_set_param, HVM_PARAM_CALLBACK_IRQ: Xen looks at our mode
        (
            12,
            7,
            struct.pack("<HHIQQ", SELF, 0, 0, 0, 0x20000 - 0x400),
        ),  # XENMEM_add_to_physmap, XENMAPSPACE_shared_info
    ]


@pytest.mark.parametrize("refused", [0, 1])
def test_a_xen_that_refuses_its_page_is_a_panic(program: Path, refused: int) -> None:
    with Harness(program) as h:
        for _ in range(refused):
            h.do("answer", 0)
        h.do("answer", -1)
        assert h.do("start").splitlines()[-1].startswith("PANIC")


def test_run_sets_vector_and_timer(h: Harness) -> None:
    h.do("answer", 0)
    h.do("answer", 0)
    h.do("answer", 0, struct.pack("<III", 0, 0, 5).hex())
    assert calls(h.do("run")) == [
        (34, 23, struct.pack("<IB", 0, 0x47)),  # HVMOP_set_evtchn_upcall_vector
        (24, 7, b""),  # VCPUOP_stop_periodic_timer
        (32, 1, struct.pack("<III", 0, 0, 0)),  # EVTCHNOP_bind_virq, VIRQ_TIMER
        (32, 9, struct.pack("<I", 5)),  # EVTCHNOP_unmask
    ]


@pytest.mark.parametrize(
    ("result", "port", "answer"),
    [(0, 7, "0 7"), (-28, 7, "-28 0"), (0, 0, "-5 0"), (0, 4095, "0 4095"), (0, 4096, "-5 0"), (0, 0xFFFFFFFF, "-5 0")],
)
def test_ports_that_cannot_be_are_refused(h: Harness, result: int, port: int, answer: str) -> None:
    h.do("answer", result, struct.pack("<HHI", SELF, 3, port).hex())
    text = h.do("alloc", 3)
    assert calls(text) == [(32, 6, struct.pack("<HHI", SELF, 3, 0))]
    assert text.splitlines()[-1] == answer


def test_verbs_of_a_port(h: Harness) -> None:
    assert calls(h.do("unmask", 9)) == [(32, 9, struct.pack("<I", 9))]
    assert calls(h.do("notify", 9)) == [(32, 4, struct.pack("<I", 9))]
    h.do("word", PENDING, 1 << 9)
    assert calls(h.do("close", 9)) == [(32, 3, struct.pack("<I", 9))]
    assert h.number("word", PENDING) == 0


def test_a_port_that_is_closed_is_masked(h: Harness) -> None:
    """Its number is the next one's, whose events wake nobody until that is unmasked."""
    mask = PENDING + 64
    h.do("word", mask + 1, 0)
    h.do("close", 69)
    assert h.number("word", mask + 1) == 1 << 5


@pytest.mark.parametrize("port", [1, 63, 64, 4095])
def test_take_clears_one_bit(h: Harness, port: int) -> None:
    word, bit = PENDING + port // 64, 1 << port % 64
    h.do("word", word, FOREVER)
    assert h.number("take", port) == 1
    assert h.number("word", word) == FOREVER & ~bit
    assert h.number("take", port) == 0


def test_a_port_beyond_the_page_is_a_bug(h: Harness) -> None:
    assert h.do("take", 4096).startswith("PANIC")


def test_before_a_sleep_the_next_event_can_interrupt(h: Harness) -> None:
    h.do("answer", 0)
    h.do("answer", 0)
    h.do("answer", 0, struct.pack("<III", 0, 0, 5).hex())
    h.do("run")
    h.do("word", UPCALL, 1)
    h.do("word", SEL, FOREVER)
    h.do("word", PENDING, 1 << 9)
    assert h.number("arm") == 0
    assert (h.number("word", UPCALL), h.number("word", SEL)) == (0, 0)
    assert h.number("word", PENDING) == 1 << 9  # its driver's


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_a_wait_ends_with_its_event(h: Harness, rounds: int) -> None:
    """Polling may come back before anything happened: it goes on."""
    text = h.do("wait", 9, SECOND, rounds)
    polls = [line for line in text.splitlines() if line.startswith("poll")]
    assert polls == [f"poll 1 9 {SECOND}"] * rounds
    assert text.splitlines()[-1] == "1"
    assert h.number("take", 9) == 0


def test_a_wait_ends_at_its_deadline(h: Harness) -> None:
    h.do("clock", 500)
    text = h.do("wait", 9, 500 + 3_000_000)
    assert text.splitlines()[-1] == "0"
    assert text.count("poll 1 9 3000000") == 3  # a poll takes 1 ms here
    assert h.do("wait", 9, 400).splitlines() == ["0"]  # in the past: no hypercall at all


def test_an_event_that_is_there_needs_no_wait(h: Harness) -> None:
    h.do("word", PENDING, 1 << 9)
    assert h.do("wait", 9, 0).splitlines() == ["1"]


@given(
    st.integers(0, (1 << 32) - 1),
    st.integers(-10, 10),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 38),
    st.integers(0, 1 << 60),
)
@settings(deadline=None, max_examples=100)
def test_xen_s_time(program: Path, mul: int, shift: int, stamp: int, delta: int, system: int) -> None:
    with Harness(program) as h:
        h.do("start")
        h.do("pv", 2, stamp, system, mul, shift & 0xFF)
        h.do("tsc", stamp + delta)
        shifted = delta << shift if shift >= 0 else delta >> -shift
        assert h.number("now") == (system + (shifted * mul >> 32)) % (1 << 64)


def test_the_timer_is_armed_in_xen_s_time(h: Harness) -> None:
    h.do("pv", 2, 0, 7 * SECOND, 1 << 31, 1)
    h.do("clock", 1000)
    assert calls(h.do("timer", 1000 + 250)) == [(24, 8, struct.pack("<QI", 7 * SECOND + 250, 0))]
    assert h.do("timer", 1000 + 250) == ""  # as it is
    assert calls(h.do("timer", 10)) == [(24, 8, struct.pack("<QI", 7 * SECOND, 0))]  # past: at once
    assert calls(h.do("timer", FOREVER)) == [(24, 9, b"")]
    assert h.do("timer", FOREVER) == ""


def test_early_words_lie_in_the_ring(h: Harness) -> None:
    h.do("ring", 2040, 2040)
    text = h.do("write", b"hello, early".hex())
    assert calls(text) == [(32, 4, struct.pack("<I", 2))]
    assert bytes.fromhex(h.do("out", 12)) == b"hello, early"


def test_a_full_ring_that_nobody_reads_costs_a_second_in_all(h: Harness) -> None:
    h.do("ring", 5000, 5000 - 2048)
    text = h.do("write", b"lost".hex())
    assert text.splitlines()[-1] == "5000"
    assert text.count("poll") == 1000


@pytest.mark.parametrize(("code", "reason"), [(0, 0), (3, 0), (119, 0), (120, 3), (121, 0), (122, 1), (123, 1)])
@pytest.mark.parametrize("store", [0, -110])
def test_the_end(h: Harness, code: int, reason: int, store: int) -> None:
    h.do("store", store)
    h.do("ring", 77, 77)
    h.do("write", b"x".hex())
    text = h.do("end", code)
    assert text.splitlines()[0] == f"store 0 data/floe-exit {code} 78"
    assert calls(text) == [(29, 2, struct.pack("<I", reason))]


@pytest.mark.parametrize(("code", "told", "reason"), [(0, 122, 1), (3, 122, 1), (123, 122, 1), (120, 120, 3)])
def test_the_end_that_the_host_asked_for_as_a_reboot(h: Harness, code: int, told: int, reason: int) -> None:
    text = h.do("end", code, 1)
    assert text.splitlines()[0] == f"store 0 data/floe-exit {told} 0"
    assert calls(text) == [(29, 2, struct.pack("<I", reason))]


def test_a_panic_while_the_end_is_written_ends_all_the_same(h: Harness) -> None:
    h.do("store", 1)
    assert "PANIC" in h.do("end", 0)
    text = h.do("end", 120)  # as hal_panic does
    assert "store" not in text
    assert calls(text) == [(29, 2, struct.pack("<I", 3))]


# ---- suspend -------------------------------------------------------------------------------------


def said(text: str) -> list[str]:
    """What was done, the hypercalls as "call NUMBER OP"."""
    return [" ".join(line.split()[:3]) if line.startswith("call") else line for line in text.splitlines()]


def test_suspended_and_saved_only(h: Harness) -> None:
    h.do("run")
    h.do("write", b"hello".hex())
    h.do("answer", 1)  # SHUTDOWN_suspend was cancelled
    assert said(h.do("suspend")) == ["flush 1000000000", "tell 0 prod 5", "stop", "call 29 2", "go", "0"]


def test_suspended_and_resumed_in_another_domain(h: Harness) -> None:
    """Xen's pages and ports are made again before the clock is looked at, the store before drivers are told."""
    for _ in range(2):
        h.do("answer", 0)
    h.do("answer", 0, struct.pack("<III", 0, 0, 5).hex())
    h.do("run")
    h.do("timer", 500)
    h.do("write", b"hello".hex())
    for answer in (0, 0, 0, 0, 0):
        h.do("answer", answer)
    h.do("answer", 0, struct.pack("<III", 0, 0, 9).hex())
    h.do("word", PENDING + 64, 0)
    text = h.do("suspend")
    assert said(text) == [
        *("flush 1000000000", "tell 0 prod 5", "stop", "call 29 2"),
        *("call 34 0", "call 12 7", "call 34 23", "call 24 7", "call 32 1", "call 32 9"),
        *("go", "entropy", "store", "SEED", "tell 1 prod 0", "1"),
    ]
    assert (34, 23, struct.pack("<IB", 0, 0x47)) in calls(text)  # the vector of before
    assert calls(text)[-1] == (32, 9, struct.pack("<I", 9))  # the new timer port
    assert h.number("word", PENDING + 64) == FOREVER  # no port is heard before its owner is there
    assert calls(h.do("timer", 500)) != []  # armed anew for a deadline of before
