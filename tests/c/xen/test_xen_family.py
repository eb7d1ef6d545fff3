# SPDX-License-Identifier: MIT
"""modules/xen/xen_family.c: a vchan's server, against a client that reads and writes the granted pages, and may lie."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import EIO, ENOMEM, ENOSPC, Harness
from tests.c.support.xen_harness import build

PAGE, IN, OUT = 4096, 1 << 14, 1 << 15
HOME = "/local/domain/1"
# struct vchan_interface (public/io/libxenvchan.h): left is what the client writes.
IN_CONS, IN_PROD, OUT_CONS, OUT_PROD, IN_ORDER, OUT_ORDER, CLI_LIVE, SRV_LIVE, CLI_NOTIFY, SRV_NOTIFY, GRANTS = (
    0, 4, 8, 12, 16, 18, 20, 21, 22, 23, 24
)  # fmt: skip
WRITE, READ = 1, 2
WRAPS = 0xFFFFF000  # the indices run over their end soon
FOREVER = (1 << 64) - 1
EACCES = 13


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = (
        "modules/xen/xenring.c",
        "modules/family/familydev.c",
        "tests/c/support/line.c",
    )
    return build(tmp_path_factory.mktemp("xenfam"), "xen_fam.c", *sources)


class Client:
    """dom0's end of the line that the driver has published."""

    def __init__(self, h: Harness) -> None:
        self.h = h

    def find(self) -> None:
        """Read where the ring is."""
        self.ref = self.number("ring-ref")
        self.port = self.number("event-channel")
        orders = struct.unpack("<HH", self.page(IN_ORDER, 4))
        assert orders == (14, 15)
        grants = struct.unpack("<12I", self.page(GRANTS, 48))
        self.pages = {"in": grants[:4], "out": grants[4:]}

    def comes(self) -> None:
        """As libxenvchan's client does."""
        self.poke(CLI_LIVE, b"\1")
        self.poke(SRV_NOTIFY, bytes([WRITE]))

    def number(self, name: str) -> int:
        return int(self.h.do("xs_get", f"{HOME}/data/floe-family/{name}"))

    def page(self, at: int, size: int, ref: int = 0) -> bytes:
        return bytes.fromhex(self.h.do("grant_read", ref or self.ref, at, size))

    def poke(self, at: int, data: bytes, ref: int = 0) -> None:
        self.h.do("grant_write", ref or self.ref, at, data.hex())

    def index(self, at: int, value: int | None = None) -> int:
        if value is not None:
            self.poke(at, struct.pack("<I", value & 0xFFFFFFFF))
        return int.from_bytes(self.page(at, 4), "little")

    def byte(self, at: int) -> int:
        return self.page(at, 1)[0]

    def told(self) -> int:
        """How many events the driver has sent."""
        return int(self.h.do("port", self.port).split()[3])

    def takes(self, most: int = OUT) -> bytes:
        cons = self.index(OUT_CONS)
        n = min(most, (self.index(OUT_PROD) - cons) & 0xFFFFFFFF)
        data = b""
        while len(data) < n:
            at = (cons + len(data)) % OUT
            size = min(n - len(data), PAGE - at % PAGE)
            data += self.page(at % PAGE, size, self.pages["out"][at // PAGE])
        self.index(OUT_CONS, cons + n)
        return data

    def says(self, data: bytes) -> int:
        prod = self.index(IN_PROD)
        data = data[: IN - ((prod - self.index(IN_CONS)) & 0xFFFFFFFF)]
        done = 0
        while done < len(data):
            at = (prod + done) % IN
            size = min(len(data) - done, PAGE - at % PAGE)
            self.poke(at % PAGE, data[done : done + size], self.pages["in"][at // PAGE])
            done += size
        self.index(IN_PROD, prod + done)
        return done


class Line(Client):
    """Both ends of a line that is up."""

    def __init__(self, h: Harness, start: int = 0) -> None:
        super().__init__(h)
        h.do("xs_set", f"{HOME}/floe/family", 1)
        assert h.number("probe") == 1, h.log
        self.find()
        h.do("from", start)

    def send(self, head: bytes, data: bytes = b"") -> bool:
        return self.h.number("line", "send", head.hex(), data.hex()) == 1

    def receive(self, size: int = IN) -> bytes:
        return bytes.fromhex(self.h.do("line", "receive", size))

    def room(self, size: int) -> bool:
        return self.h.number("line", "room", size) == 1

    def run(self) -> int:
        return self.h.number("line", "run")

    def arm(self) -> int:
        return self.h.number("line", "arm")

    def dead(self, reason: str) -> None:
        assert self.h.log == [f"xen family: {reason}"]
        assert self.h.number("line", "dead") == 1
        assert self.run() == 0 and self.arm() == 0 and not self.send(b"x") and not self.room(1)
        assert self.receive() == b"" and self.h.number("line", "busy") == 0
        assert len(self.h.log) == 1


@pytest.fixture
def line(h: Harness) -> Line:
    made = Line(h)
    made.comes()
    return made


# ---- the start ----------------------------------------------------------------------------------


def test_without_xen_there_is_none(h: Harness) -> None:
    h.do("xen", "absent", 1)
    assert h.number("probe") == 0


@pytest.mark.parametrize("wanted", [None, "0", "2", "", "yes"])
def test_a_host_that_wants_none(h: Harness, wanted: str | None) -> None:
    if wanted is not None:
        h.do("xs_set", f"{HOME}/floe/family", wanted)
    h.do("xs_log")
    assert h.number("probe") == 0
    assert h.do("xs_log").split("\n") == ["R floe/family"]  # that is all it costs
    assert h.number("grants") == 0 and h.do("ports") == "" and h.log == []
    assert h.do("line", "run") == "none"


def test_what_the_client_finds(h: Harness) -> None:
    line = Line(h)
    assert line.page(0, 16) == bytes(16)
    assert [line.byte(at) for at in (CLI_LIVE, SRV_LIVE, SRV_NOTIFY)] == [2, 1, 0]
    assert h.number("grants") == 13
    for ref in (line.ref, *line.pages["in"], *line.pages["out"]):
        assert h.do("grant", ref) == "0 0 0"  # dom0 may write; it has mapped nothing
    assert h.do("port", line.port) == "0 0 0 0"
    log = h.do("xs_log").split("\n")
    assert log[-2:] == [
        f"W data/floe-family/event-channel={line.port}",
        f"W data/floe-family/ring-ref={line.ref}",
    ]
    assert h.number("line", "left") == FOREVER


@pytest.mark.parametrize("left", range(13))
def test_every_grant_fails_once(h: Harness, left: int) -> None:
    h.do("xen", "grants_left", left)
    h.do("xs_set", f"{HOME}/floe/family", 1)
    assert h.number("probe") == ENOSPC
    assert h.log == ["xen family: no grant for a page (-28)"] and h.do("line", "run") == "none"


def test_no_event_channel(h: Harness) -> None:
    h.do("xen", "ports_left", 0)
    h.do("xs_set", f"{HOME}/floe/family", 1)
    assert h.number("probe") == ENOSPC
    assert h.log == ["xen family: no event channel (-28)"] and h.do("line", "run") == "none"


def test_no_memory(h: Harness) -> None:
    h.do("hal", "dma_left", 0)
    h.do("xs_set", f"{HOME}/floe/family", 1)
    assert h.number("probe") == ENOMEM
    assert h.log == ["xen family: no memory for its rings (-12)"] and h.do("line", "run") == "none"


@pytest.mark.parametrize("name", ["ring-ref", "event-channel"])
def test_a_store_that_takes_nothing(h: Harness, name: str) -> None:
    h.do("xs_fail", f"data/floe-family/{name}", EACCES)
    h.do("xs_set", f"{HOME}/floe/family", 1)
    assert h.number("probe") == -EACCES
    assert h.log == ["xen family: XenStore does not take the ring's place (-13)"] and h.do("line", "run") == "none"


# ---- bytes --------------------------------------------------------------------------------------


def test_what_is_said_before_the_client_comes_waits_for_it(h: Harness) -> None:
    line = Line(h)
    assert line.send(b"head", b"data")
    assert line.told() == 0  # nobody has asked for it: the client looks when it comes
    assert h.number("line", "busy") == 0  # nor does the VM's end wait for one
    assert line.arm() == 0
    line.comes()
    assert h.number("line", "busy") == 1
    assert line.takes() == b"headdata"
    assert h.number("line", "busy") == 0


def test_a_frame_is_sent_whole_or_not_at_all(line: Line) -> None:
    data = bytes(range(256)) * 64
    assert line.send(b"head", data)
    assert line.room(OUT - len(data) - 4) and not line.room(OUT - len(data) - 3)
    assert not line.send(b"head", data)
    assert line.takes() == b"head" + data
    assert line.send(b"head", data) and line.takes() == b"head" + data
    assert line.h.log == []


@given(
    st.lists(st.tuples(st.integers(0, 20000), st.integers(0, 20000)), max_size=10),
    st.sampled_from([0, WRAPS]),
)
@settings(deadline=None, max_examples=30)
def test_bytes_arrive_in_order(program: Path, steps: list[tuple[int, int]], start: int) -> None:
    with Harness(program) as h:
        line = Line(h, start)
        line.comes()
        sent = taken = said = heard = b""
        for number, (size, most) in enumerate(steps):
            data = bytes((number + i) % 251 for i in range(size))
            fits = size + 2 <= OUT - (len(sent) - len(taken))
            assert line.send(b"::", data) == fits
            sent += b"::" + data if fits else b""
            taken += line.takes(most)
            said += data[: line.says(data)]
            heard += line.receive(most)
        taken += line.takes()
        heard += line.receive()
        assert (taken, heard) == (sent, said)
        assert line.receive() == b"" and h.log == []


# ---- events -------------------------------------------------------------------------------------


def test_the_client_is_told_where_it_has_asked(line: Line) -> None:
    assert line.send(b"a") and line.told() == 1
    assert line.byte(SRV_NOTIFY) == 0
    assert line.send(b"b") and line.told() == 1
    line.says(b"xyz")
    line.poke(SRV_NOTIFY, bytes([WRITE | READ]))
    assert line.receive(1) == b"x" and line.told() == 2
    assert line.byte(SRV_NOTIFY) == WRITE
    assert line.receive() == b"yz" and line.told() == 2
    line.poke(SRV_NOTIFY, b"\xff")  # bits that mean nothing
    assert line.send(b"c") and line.told() == 3


def test_the_vm_sleeps_until_bytes_come(line: Line) -> None:
    assert line.arm() == 0
    assert line.byte(CLI_NOTIFY) == WRITE  # no event for what is taken: nobody waits for room
    line.h.do("port_raise", line.port)
    line.says(b"x")
    assert line.arm() == 1
    assert line.h.do("port", line.port).split()[2] == "0"  # so that the next one wakes it
    assert line.receive() == b"x"
    assert line.arm() == 0


def test_the_vm_sleeps_until_there_is_room(line: Line) -> None:
    assert line.send(b"h", bytes(OUT - 1))
    assert not line.send(b"h", bytes(99))
    assert line.arm() == 0
    assert line.byte(CLI_NOTIFY) == WRITE | READ
    line.takes(99)
    assert line.run() == 0 and line.arm() == 0  # not yet enough
    line.takes(1)
    assert line.arm() == 1
    assert line.run() == 1
    assert line.run() == 0 and line.arm() == 0
    assert line.send(b"h", bytes(99))


# ---- a client that lies -------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, WRAPS])
@pytest.mark.parametrize("jump", [IN + 1, 1 << 31, -1])
def test_more_was_written_than_there_is_room_for(h: Harness, start: int, jump: int) -> None:
    line = Line(h, start)
    line.comes()
    line.index(IN_PROD, start + jump)
    assert line.receive() == b""
    line.dead(f"the host wrote more than there is room for ({EIO})")
    assert line.byte(SRV_LIVE) == 0 and line.told() == 1


@pytest.mark.parametrize("start", [0, WRAPS])
@pytest.mark.parametrize("jump", [4, 1 << 31, -OUT])
def test_more_was_taken_than_was_written(h: Harness, start: int, jump: int) -> None:
    line = Line(h, start)
    line.comes()
    assert line.send(b"abc")
    line.index(OUT_CONS, start + jump)
    assert not line.send(b"d")
    line.dead(f"the host took more than was written ({EIO})")
    assert line.byte(SRV_LIVE) == 0


@pytest.mark.parametrize("where", ["run", "arm"])
def test_a_lie_is_heard_of_by_who_waits_for_room(line: Line, where: str) -> None:
    assert line.send(b"h", bytes(OUT - 1)) and not line.send(b"h")
    line.index(OUT_CONS, OUT + 1)
    assert line.h.number("line", where) == 1
    line.dead(f"the host took more than was written ({EIO})")


def test_our_part_of_the_page_is_not_read_back(line: Line) -> None:
    """What the client writes over it changes nothing."""
    line.send(b"abc")
    line.says(b"xyz")
    line.index(OUT_PROD, 999)
    line.index(IN_CONS, 777)
    line.poke(IN_ORDER, b"\xff" * 4)
    line.poke(GRANTS, bytes(48))
    line.poke(SRV_LIVE, b"\0")
    assert line.send(b"def") and line.index(OUT_PROD) == 6
    assert line.takes() == b"abcdef"
    assert line.receive() == b"xyz" and line.index(IN_CONS) == 3
    assert line.run() == 0 and line.h.log == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("poke"), st.integers(0, GRANTS + 47), st.binary(min_size=1, max_size=5)),
            st.tuples(st.sampled_from(["send", "receive", "room"]), st.integers(1, 17000), st.just(b"")),
            st.tuples(st.sampled_from(["run", "arm", "busy", "takes", "says"]), st.integers(0, 3000), st.just(b"")),
        ),
        max_size=25,
    )
)
@settings(deadline=None, max_examples=60)
def test_random_lives(program: Path, steps: list[tuple[str, int, bytes]]) -> None:
    """Whatever stands in the page: nothing beyond the rings is touched, nobody hangs, and one line is said at most."""
    with Harness(program) as h:
        line = Line(h)
        line.comes()
        for what, number, data in steps:
            if what == "poke":
                line.poke(number, data)
            elif what == "send":
                line.send(b"head", bytes(number))
            elif what == "receive":
                assert len(line.receive(number)) <= number
            elif what == "room":
                line.room(number)
            elif what == "takes":
                line.index(OUT_CONS, line.index(OUT_CONS) + number)
            elif what == "says":
                line.index(IN_PROD, line.index(IN_PROD) + number)
            else:
                h.number("line", what)
        assert len(h.log) == h.number("line", "dead")


def test_the_client_goes(line: Line) -> None:
    line.send(b"abc")
    line.poke(CLI_LIVE, b"\0")
    assert line.arm() == 1
    assert line.run() == 1
    line.dead("the host has closed the family's line (-32)")


# ---- another domain -----------------------------------------------------------------------------


def test_where_the_vm_goes_on_the_line_is_made_anew(line: Line) -> None:
    line.send(b"what the old host does not read any more")
    line.says(b"what the VM has not read")
    old = {line.ref, *line.pages["in"], *line.pages["out"]}
    line.h.do("suspending")
    assert line.arm() == 1  # in the same domain nothing has changed
    line.h.do("resumed")
    assert line.receive() == b"" and not line.send(b"not yet") and not line.room(1)
    assert line.h.number("line", "busy") == 0
    assert line.arm() == 1
    assert line.run() == 1
    line.find()
    assert not old & {line.ref, *line.pages["in"], *line.pages["out"]}
    assert line.h.number("grants") == 13 and len(line.h.do("ports").split()) == 1
    assert line.page(0, 16) == bytes(16) and line.byte(CLI_LIVE) == 2
    line.comes()
    assert line.send(b"new") and line.takes() == b"new"
    line.says(b"host")
    assert line.receive() == b"host" and line.run() == 0 and line.h.log == []


def test_where_the_vm_goes_on_there_is_no_family(line: Line) -> None:
    line.h.do("xs_rm", f"{HOME}/floe/family")
    line.h.do("resumed")
    assert line.run() == 1
    line.dead("none where the VM goes on (-19)")
    assert line.h.number("grants") == 0


@pytest.mark.parametrize("left", range(13))
def test_where_the_vm_goes_on_grants_fail(line: Line, left: int) -> None:
    line.h.do("xen", "grants_left", left)
    line.h.do("resumed")
    assert line.run() == 1
    line.dead("no grant for a page (-28)")


def test_a_dead_line_stays_dead(line: Line) -> None:
    line.poke(CLI_LIVE, b"\0")
    line.run()
    line.h.do("resumed")
    line.dead("the host has closed the family's line (-32)")
    assert line.h.number("grants") == 0


def test_a_vm_without_a_line_hears_of_another_domain(h: Harness) -> None:
    assert h.number("probe") == 0
    h.do("resumed")
    assert h.number("grants") == 0 and h.log == []
