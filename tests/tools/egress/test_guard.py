# SPDX-License-Identifier: MIT
"""A guarded process: a program in QEMU's place tries all ways out of it that Linux has. What a guest alone can do:
tests/target/security/test_egress.py."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from floe import landlock
from floe.confined import confining
from floe.egress import guard
from floe.egress.guard import Guard
from floe.errors import VmError
from floe.qemu import reach
from floe.spec import egress
from floe.spec.egress import Egress, Target
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec, Wires
from tests.support.fixtures import REPO
from tests.support.nobody import NOBODY

ROOT = os.geteuid() == 0
HERE = "127.0.0.1"
REFUSED, DENIED, NO_FAMILY = errno.ECONNREFUSED, errno.EPERM, errno.EACCES


@pytest.fixture(scope="module")
def escaped() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="floe escaped ") as folder:
        os.chmod(folder, 0o755)
        program = Path(folder) / "qemu"
        source = REPO / "tests/support/escaped.c"
        subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True, timeout=60)
        yield program


@pytest.fixture(params=["root", "user"] if ROOT else ["user"])
def user(request: pytest.FixtureRequest) -> int | None:
    """Whom the program runs as. Root's guard looks after it."""
    return NOBODY if ROOT and request.param == "user" else None


@pytest.fixture(params=["landlock", "seccomp alone"])
def walls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what a new kernel has, and with what an older one has."""
    if request.param != "landlock":
        monkeypatch.setattr(landlock, "abi", lambda: 0)


class Outside:
    """A TCP and a UDP port of this host that must hear nothing, or may."""

    def __init__(self) -> None:
        self.tcp = socket.create_server((HERE, 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((HERE, 0))

    @property
    def ports(self) -> tuple[int, int]:
        return self.tcp.getsockname()[1], self.udp.getsockname()[1]

    def heard(self) -> tuple[bool, bool]:
        """A connection, a datagram."""
        found = []
        for sock in (self.tcp, self.udp):
            sock.settimeout(0.2)
            try:
                sock.accept() if sock is self.tcp else sock.recv(100)
                found.append(True)
            except TimeoutError:
                found.append(False)
        return found[0], found[1]

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.close()


def tried(
    program: Path, words: Mapping[str, object], allow: Egress, user: int | None
) -> tuple[dict[str, int], list[str]]:
    """What came of the words, and what was told of them."""
    told: list[str] = []
    environment = {**os.environ, "ESCAPED": "|".join(words)}
    spec = VmSpec(Path("/nowhere"), egress=allow)
    with reach.confinement(spec, Wires("", "", ""), str(program)) as limits:
        confine = confining(limits.ruleset, limits.kept)
        with Guard(limits.egress, told.append).entrance() as enter:

            def begin() -> None:
                confine()
                enter()

            done = subprocess.run(
                [program], env=environment, capture_output=True, text=True, timeout=60, check=False, user=user,
                preexec_fn=begin,
            )  # fmt: skip
    match = re.search(r"ESCAPED\|(.*)", done.stdout)
    assert match is not None, done
    came = {word: int(number) for word, _, number in (one.rpartition("=") for one in match[1].split("|"))}
    return came, told


@pytest.mark.usefixtures("walls")
def test_nothing_gets_out(escaped: Path, user: int | None, outside: Outside) -> None:
    """By no call, under no number, with no kind of socket."""
    tcp, udp = outside.ports
    expected = dict.fromkeys((f"connect:{tcp}", f"connect6:{tcp}", f"mapped:{tcp}"), errno.EINPROGRESS)
    expected |= {f"udp:{udp}": 0, f"udp_connect:{udp}": REFUSED}  # a datagram is lost
    expected |= dict.fromkeys((f"message:{udp}", f"messages:{udp}", f"fast_message:{tcp}"), DENIED)
    expected |= {f"fast:{tcp}": errno.EISCONN}
    ways = ("dup", "dup2", "dup3", "dupfd", "dupfd_cloexec", "getfd", "socketpair")
    expected |= dict.fromkeys((f"renumber:{how}" for how in ways), DENIED)
    kinds = ("raw:1", "raw:255", "ping:1", *(f"family:{number}" for number in (1, 16, 17, 38, 40)))
    expected |= dict.fromkeys(kinds, NO_FAMILY) | {"ring:1": DENIED}
    came, told = tried(escaped, expected, Egress(), user)
    assert came == expected
    assert outside.heard() == (False, False)
    assert told == [
        f"--allow: refused {HERE}:{tcp}",
        f"--allow: refused [::1]:{tcp}",
        f"--allow: refused {HERE}:{udp}/udp",
        "--allow: refused ICMP: the guest's ping",
    ]


@pytest.mark.usefixtures("walls")
def test_what_is_allowed_gets_out(escaped: Path, user: int | None, outside: Outside) -> None:
    """To that port, by that protocol; the other one is another place."""
    tcp, udp = outside.ports
    allow = Egress((Target(HERE, tcp), Target(HERE, udp, "udp")))
    words = (f"connect:{tcp}", f"mapped:{tcp}", f"udp:{udp}", f"udp_connect:{udp}", f"connect:{udp}", f"udp:{tcp}")
    came, told = tried(escaped, dict.fromkeys(words), allow, user)
    assert set(came.values()) <= {0, errno.EINPROGRESS}  # what is refused looks as if nobody were there
    assert outside.heard() == (True, True)
    assert told == [f"--allow: refused {HERE}:{udp}", f"--allow: refused {HERE}:{tcp}/udp"]
    _, told = tried(escaped, dict.fromkeys(words), both_by_both(tcp, udp), user)
    assert told == []


def both_by_both(tcp: int, udp: int) -> Egress:
    return Egress(tuple(Target(HERE, port, protocol) for port in (tcp, udp) for protocol in ("tcp", "udp")))


def test_a_guard_keeps_nothing_of_what_it_looked_at(escaped: Path) -> None:
    """Or a guest would use its owner's descriptors up: of what is no socket, too."""
    words = dict.fromkeys(("pipe:1", "pipe:2", "pipe:77", "connect:9", "udp:9"))
    tried(escaped, words, Egress(), None)  # what is loaded once
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        came, _ = tried(escaped, words, Egress(), None)
        assert [came[word] for word in list(words)[:3]] == [errno.ENOTSOCK, errno.ENOTSOCK, errno.EBADF]
    end = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < end:
        time.sleep(0.01)  # a guard sees a little later that its process has ended
    assert len(os.listdir("/proc/self/fd")) <= before


def test_without_its_guard_nothing_gets_out(escaped: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that died: even what was allowed."""
    tcp, udp = outside.ports
    words = dict.fromkeys((f"connect:{tcp}", f"udp:{udp}"), errno.ENOSYS)
    monkeypatch.setattr(guard.Guard, "_receive", lambda self, ours: ours.recv(1))  # the descriptor ends with that
    came, _ = tried(escaped, words, both_by_both(tcp, udp), None)
    assert came == words
    assert outside.heard() == (False, False)


def test_where_there_can_be_no_guard_no_vm_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than one that is not held."""
    monkeypatch.setattr("floe.egress.filter.lacks", lambda: "this kernel has none")
    limits = reach.confinement(VmSpec(Path("/nowhere"), egress=Egress()), Wires("", "", ""), "/bin/true")
    with pytest.raises(VmError, match="--allow: this kernel has none"), limits:
        pass


def test_lines_about_what_is_refused_end() -> None:
    """A guest that tries names without end fills no log."""
    told: list[str] = []
    made = Guard(egress.rules(Egress(), (), ()), told.append)
    for number in range(1000):
        made.refuse(f"the name {number}.example")
        made.refuse(f"the name {number}.example")
    assert len(told) == 257 and told[-1] == "--allow: what else is refused is not told any more"


def test_addresses_as_they_are_shown() -> None:
    assert guard.shown(("tcp", guard.packed("::ffff:192.0.2.1"), 80)) == "192.0.2.1:80"
    assert guard.shown(("udp", guard.packed("2001:db8::1"), 53)) == "[2001:db8::1]:53/udp"


def test_the_host_s_name_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else stands in that file."""
    file = tmp_path / "resolv.conf"
    file.write_text("# nameserver 192.0.2.9\n\nnameserver 192.0.2.1\nnameserver ::1\nnameserver nonsense\nnameserver\n")
    monkeypatch.setattr(guard, "_RESOLVER", str(file))
    assert guard.resolvers() == {guard.packed("192.0.2.1"), guard.packed("::1")}
    monkeypatch.setattr(guard, "_RESOLVER", str(tmp_path / "none"))
    assert guard.resolvers() == set()


def test_a_name_keeps_its_addresses_until_it_has_others_twice() -> None:
    pin = guard.Pin([b"aaaa"])
    assert pin.is_due() and not pin.is_due()  # the second one finds it being looked up
    pin.renew([b"bbbb"])
    assert (pin.addresses, pin.good) == ([b"bbbb"], {b"aaaa", b"bbbb"})
    pin.renew([])
    pin.renew([b"cccc", b"cccc"])
    assert (pin.addresses, pin.good) == ([b"cccc"], {b"bbbb", b"cccc"})


def test_the_rules_of_a_forwarded_port() -> None:
    """Of UDP those, which answer whoever has asked."""
    forwards = (Forward(HERE, 5353, 53, "udp"), Forward(HERE, 8080, 80))
    made = Guard(egress.rules(Egress(), VmSpec(Path("/nowhere")).cards, forwards), print)
    assert made.answers_from(5353) and not made.answers_from(8080)
