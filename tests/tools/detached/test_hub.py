# SPDX-License-Identifier: MIT
"""hub.py, link.py, endpoints.py, logfile.py without a VM: a socket pair is the machine's console."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.detached import hub as hub_module
from floe.detached.endpoints import tcp_socket
from floe.stream import logfile
from floe.stream.link import Link
from floe.stream.logfile import BoundedLog
from tests.support.fixtures import SmallDisk
from tests.support.hubbench import DEADLINE_S, HubBench


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubBench]:
    made = HubBench(tmp_path_factory.mktemp("b"))
    yield made
    made.close()


@pytest.fixture(params=["tcp", "unix", "pty"])
def client(bench: HubBench, request: pytest.FixtureRequest) -> Iterator[int]:
    """A descriptor of a client, attached."""
    fd = {"tcp": lambda: bench.by_tcp().detach(), "unix": lambda: bench.by_unix().detach(), "pty": bench.by_pty}[
        request.param
    ]()
    bench.until(lambda: bench.hub.client is not None)
    yield fd
    os.close(fd)


EVERY_BYTE = bytes(range(256)) * 64


def test_every_byte_passes_both_ways(bench: HubBench, client: int) -> None:
    bench.guest.send(EVERY_BYTE)
    assert bench.read(client, len(EVERY_BYTE)) == EVERY_BYTE
    sent = 0
    got = b""
    while len(got) < len(EVERY_BYTE):
        if sent < len(EVERY_BYTE):
            sent += os.write(client, EVERY_BYTE[sent : sent + 1024])
        got += bench.read(bench.guest, min(1024, sent - len(got)))
    assert got == EVERY_BYTE
    assert bench.log_path.read_bytes() == EVERY_BYTE


def test_nothing_is_echoed_and_nothing_from_before_is_seen(bench: HubBench, client: int) -> None:
    os.write(client, b"hello\r\x03\x04")
    assert bench.read(bench.guest, 8) == b"hello\r\x03\x04"
    assert not select.select([client], [], [], 0.05)[0]


def test_what_was_sent_before_leaving_arrives(bench: HubBench) -> None:
    """More than the machine's socket takes, from a client that leaves at once."""
    for connect in (bench.by_tcp, bench.by_unix):
        sock = connect()
        sock.setblocking(True)
        bench.until(lambda: bench.hub.client is not None)
        size = 150_000
        sent = 0
        sock.setblocking(False)
        while sent < size:
            try:
                sent += sock.send(b"x" * (size - sent))
            except BlockingIOError:
                bench.serve(0.001)
        sock.close()
        assert bench.read(bench.guest, size) == b"x" * size
        bench.until(lambda: bench.hub.client is None)


@pytest.mark.parametrize("left", ["tcp", "unix", "pty"])
def test_a_client_that_comes_when_another_has_just_left_is_served(bench: HubBench, left: str) -> None:
    """However late the keeper gets to see that: a busy host may have stopped it. Nothing of the first one's is lost."""
    size = 3000 if left == "pty" else 20_000
    fd = {"tcp": lambda: bench.by_tcp().detach(), "unix": lambda: bench.by_unix().detach(), "pty": bench.by_pty}[left]()
    bench.until(lambda: bench.hub.client is not None)
    assert os.write(fd, b"x" * size) == size
    os.close(fd)
    second = bench.by_tcp()
    second.send(b"second")
    assert bench.read(bench.guest, size + 6) == b"x" * size + b"second"
    bench.guest.send(b"welcome")
    assert bench.read(second, 7) == b"welcome"
    second.close()


def test_the_next_client_gets_nothing_of_the_one_before(bench: HubBench) -> None:
    """The pty too: bytes that were not read are flushed, modes that were set are reset."""
    first = bench.by_pty()
    bench.until(lambda: bench.hub.client is not None)
    modes = termios.tcgetattr(first)
    modes[3] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(first, termios.TCSANOW, modes)
    bench.guest.send(b"never read\n")
    bench.serve()
    os.close(first)
    bench.until(lambda: bench.hub.client is None)
    second = bench.by_pty()
    bench.until(lambda: bench.hub.client is not None)
    assert not select.select([second], [], [], 0.05)[0]
    assert not termios.tcgetattr(second)[3] & (termios.ECHO | termios.ICANON)
    bench.guest.send(b"new")
    assert bench.read(second, 3) == b"new"
    os.close(second)


def test_a_pty_may_be_opened_again_and_again(bench: HubBench) -> None:
    for number in range(20):
        fd = bench.by_pty()
        bench.until(lambda: bench.hub.client is not None)
        os.write(fd, b"%2d" % number)
        os.close(fd)
        assert bench.read(bench.guest, 2) == b"%2d" % number
        bench.until(lambda: bench.hub.client is None)


EXCLUSIVE = """
import fcntl, os, sys, termios
from pathlib import Path
from tests.support.hubbench import HubBench
bench = HubBench(Path(sys.argv[1]))
for number in range(3):
    fd = bench.by_pty()
    fcntl.ioctl(fd, termios.TIOCEXCL)
    bench.until(lambda: bench.hub.client is not None)
    os.write(fd, b"%d" % number)
    assert bench.read(bench.guest, 1) == b"%d" % number
    os.close(fd)
    bench.until(lambda: bench.hub.client is None)
print("fine")
"""


def test_a_pty_that_was_left_exclusive_serves_the_next_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As a user without CAP_SYS_ADMIN, who cannot open such a pty again."""
    argv = [sys.executable, "-c", EXCLUSIVE, str(tmp_path_factory.mktemp("b"))]
    if os.geteuid() == 0:
        argv = ["setpriv", "--bounding-set=-sys_admin", *argv]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=env)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


@pytest.mark.parametrize("second", ["tcp", "unix"])
def test_a_second_client_is_told_and_closed(bench: HubBench, client: int, second: str) -> None:
    other = bench.by_tcp() if second == "tcp" else bench.by_unix()
    other.send(b"garbage\x03\x04")  # mpremote's first bytes: they reach nobody
    line = bench.in_use(other)
    assert line.startswith("floe: vm is in use by ")
    assert line.endswith("\r\n")
    assert bench.read(other, 1) == b""
    os.write(client, b"mine")
    assert bench.read(bench.guest, 4) == b"mine"
    bench.guest.send(b"yours")
    assert bench.read(client, 5) == b"yours"
    other.close()


def test_who_has_it_is_told(bench: HubBench) -> None:
    first = bench.by_unix()
    bench.until(lambda: bench.hub.client is not None)
    other = bench.by_tcp()
    assert f"(pid {os.getpid()})" in bench.in_use(other)
    first.close()
    other.close()
    bench.until(lambda: bench.hub.client is None)
    first = bench.by_tcp()
    bench.until(lambda: bench.hub.client is not None)
    other = bench.by_unix()
    assert f"TCP client 127.0.0.1:{first.getsockname()[1]}" in bench.in_use(other)
    first.close()
    other.close()


def test_at_the_pty_the_line_answers_what_is_typed_until_it_is_free(bench: HubBench) -> None:
    first = bench.by_tcp()
    bench.until(lambda: bench.hub.client is not None)
    terminal = bench.by_pty()
    bench.serve()
    assert not select.select([terminal], [], [], 0)[0]
    os.write(terminal, b"hello")
    assert bench.in_use(terminal).startswith("floe: vm is in use by TCP client")
    with pytest.raises(BlockingIOError):
        bench.guest.recv(1)
    first.close()
    bench.until(lambda: bench.hub.client is not None and "pty" in bench.hub.client.label)
    os.write(terminal, b"now")
    assert bench.read(bench.guest, 3) == b"now"
    os.close(terminal)


def test_what_mpremote_typed_last_at_a_refused_pty_reaches_the_guest_in_its_turn(bench: HubBench) -> None:
    """It reads over the line and waits for the answer to Ctrl-A; what a person typed is not run behind their back."""
    first = bench.by_tcp()
    bench.until(lambda: bench.hub.client is not None)
    terminal = bench.by_pty()
    for typed in (b"remove(1)\r", b"\r\x03", b"\r\x01"):
        os.write(terminal, typed)
        assert bench.in_use(terminal).startswith("floe: vm is in use by TCP client")
    first.close()
    bench.until(lambda: bench.hub.client is not None and "pty" in bench.hub.client.label)
    assert bench.read(bench.guest, 5) == b"\r\r\x03\r\x01"
    os.close(terminal)


def test_a_client_that_does_not_read_holds_nobody_up(
    bench: HubBench, client: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has all of it; what the client missed is counted; when it reads again it gets what comes then."""
    monkeypatch.setattr(hub_module, "_SPOOL", 2 << 20)
    total = 12 << 20
    sent = 0
    chunk = b"0123456789abcde\n" * 4096

    def all_sent() -> bool:
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            sent += bench.guest.send(chunk[: total - sent])
        return sent == total

    bench.until(all_sent)
    bench.until(lambda: sum(p.stat().st_size for p in bench.log_path.parent.glob("console.log*")) == total)
    assert bench.hub.dropped > 4 << 20
    held = 0
    while select.select([client], [], [], 0.02)[0]:
        held += len(os.read(client, 1 << 20))
        bench.serve(0.001)
    assert held + bench.hub.dropped == total
    bench.guest.send(b"fresh")
    assert bench.read(client, 5) == b"fresh"


def test_a_slow_client_loses_nothing(bench: HubBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest is held back to what it takes. That it reads is not judged by this machine's speed."""
    monkeypatch.setattr(hub_module, "_TICK_S", DEADLINE_S)
    sock = bench.by_unix()
    bench.until(lambda: bench.hub.client is not None)
    total = 6 << 20
    sent = got = 0
    chunk = b"x" * 65536

    def step() -> bool:
        nonlocal sent, got
        with contextlib.suppress(BlockingIOError):
            sent += bench.guest.send(chunk[: min(65536, total - sent)]) if sent < total else 0
        with contextlib.suppress(BlockingIOError):
            got += len(sock.recv(8192))
        assert bench.hub.client is not None and bench.hub.client.link.queued < 2 << 20
        return got == total

    bench.until(step)
    assert bench.hub.dropped == 0
    sock.close()


def test_a_client_that_stands_still_for_a_while_loses_nothing(bench: HubBench, client: int) -> None:
    """Longer than the guest is held back for it: what comes meanwhile is kept, and comes in order."""
    text = b"".join(b"%015d\n" % number for number in range(16 << 16))
    sent = enough = 0

    def more_was_sent() -> bool:
        nonlocal sent, enough
        with contextlib.suppress(BlockingIOError):
            sent += bench.guest.send(text[sent : sent + 65536])
        assert bench.hub.client is not None
        if bench.hub.client.behind and not enough:
            enough = sent + (2 << 20)
        return 0 < enough <= sent

    bench.until(more_was_sent)
    assert bench.read(client, sent) == text[:sent]
    assert bench.hub.dropped == 0
    bench.until(lambda: bench.hub.client is not None and not bench.hub.client.behind)


def test_a_client_that_left_is_not_waited_for_for_ever(bench: HubBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest reads nothing, the client is held back for it, and goes away."""
    monkeypatch.setattr(hub_module, "_LEFT_S", 1.0)
    sock = bench.by_tcp()
    bench.until(lambda: bench.hub.client is not None)
    while True:
        try:
            sock.send(b"x" * 65536)
        except BlockingIOError:
            if select.select([], [sock], [], 0)[1]:
                continue
            bench.serve(0.02)
            if not select.select([], [sock], [], 0)[1]:
                break
    bench.serve()
    assert bench.hub.client is not None
    assert not select.select([], [sock], [], 0)[1]  # held back
    sock.close()
    bench.until(lambda: bench.hub.client is None)


@pytest.mark.parametrize(("said", "sent", "typed"), [
    (b"raw REPL; CTRL-B to exit\r\n>", b"\r\x01", b"\r\x01\r\x02"),
    (b"raw REPL; CTRL-B to exit\r\n>", b"\r\x01\r\x02", b"\r\x01\r\x02"),
    (b"a script's output >", b"\r\x01", b"\r\x01"),
])  # fmt: skip
def test_a_client_that_leaves_in_raw_mode_is_tidied_up_after(
    bench: HubBench, client: int, said: bytes, sent: bytes, typed: bytes
) -> None:
    """A guest in raw mode holds its script's output back."""
    for half in (said[:9], said[9:]):
        bench.guest.send(half)
        bench.read(client, len(half))
    os.write(client, sent)
    assert bench.read(bench.guest, len(sent)) == sent
    assert bench.hub.client is not None
    bench.hub.leave(bench.hub.client)
    assert bench.read(bench.guest, len(typed) - len(sent)) == typed[len(sent) :]
    assert not select.select([bench.guest], [], [], 0.02)[0]


def test_the_machine_may_come_and_go_under_a_client(bench: HubBench, client: int) -> None:
    bench.guest.close()
    bench.hub.connect(None)
    os.write(client, b"lost")
    bench.serve()
    bench.guest, console = socket.socketpair()
    bench.guest.setblocking(False)
    bench.hub.connect(Link(console.detach(), bench.loop))
    os.write(client, b"kept")
    assert bench.read(bench.guest, 4) == b"kept"


def test_the_wanted_port_is_taken_if_it_is_free() -> None:
    with tcp_socket(0) as first:
        first.listen()
        port = first.getsockname()[1]
        with tcp_socket(port) as second:
            assert second.getsockname()[1] != port
    with tcp_socket(port) as third:
        assert third.getsockname() == ("127.0.0.1", port)


def test_the_unix_socket_is_for_its_owner_alone(bench: HubBench) -> None:
    assert bench.unix.stat().st_mode & 0o777 == 0o600


def test_the_port_is_for_its_owner_alone(bench: HubBench) -> None:
    """Over IPv6 too, whose sockets may connect to IPv4 addresses; from a client that has hung up, where only root is named."""
    if os.geteuid() != 0:
        pytest.skip("SKIP: another user is made by root alone")
    program = (
        "import socket, sys\ns = socket.socket(socket.AF_INET6 if sys.argv[2] == '6' else socket.AF_INET)\n"
        "s.connect(('::ffff:127.0.0.1' if sys.argv[2] == '6' else '127.0.0.1', int(sys.argv[1])))\n"
        "s.sendall(b'code')\nsys.argv[3] == 'go' or sys.stdout.write(s.makefile().read())\n"
    )
    for family in "46":
        for after in ("go", "stay"):
            with subprocess.Popen(
                ["/usr/bin/python3", "-c", program, str(bench.port), family, after],
                user="nobody",
                stdout=subprocess.PIPE,
            ) as process:
                if after == "go":
                    process.wait(DEADLINE_S)  # it has left before anyone looks
                    bench.serve(0.1)
                else:
                    bench.until(lambda p=process: p.poll() is not None)
                assert process.stdout is not None
                said = process.stdout.read()
            assert said == (b"" if after == "go" else b"floe: this console is for the user alone who started the VM\n")
    assert bench.hub.client is None
    assert not select.select([bench.guest], [], [], 0.05)[0]
    own = bench.by_tcp()
    own.sendall(b"mine")
    assert bench.read(bench.guest, 4) == b"mine"
    own.close()


def test_the_pty_is_for_its_owner_alone(bench: HubBench) -> None:
    assert os.stat(bench.pty.path).st_mode & 0o777 == 0o600


# ---- the log -------------------------------------------------------------------------------------------


def test_a_log_is_bounded(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "l", limit=1000)
    for number in range(1000):
        log.write(b"%09d\n" % number)
    kept = (tmp_path / "l.1").read_bytes() + (tmp_path / "l").read_bytes()
    assert 1000 <= len(kept) <= 2000
    assert kept.endswith(b"000000999\n")
    assert kept == b"".join(b"%09d\n" % n for n in range(1000))[-len(kept) :]


def test_a_log_s_times_are_bounded_too_and_follow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(logfile.time, "time", lambda: now)
    log = BoundedLog(tmp_path / "l", limit=10000)
    for _ in range(1000):
        now += 1
        log.write(b"x")
    assert (tmp_path / "l").stat().st_size + (tmp_path / "l.1").stat().st_size < 200
    assert (tmp_path / "times.l").stat().st_size + (tmp_path / "times.l.1").stat().st_size < 3000
    newest = (tmp_path / "l").stat().st_size - 1
    assert logfile.Stamps(tmp_path / "l").at(newest) == now
    assert logfile.Stamps(tmp_path / "l.1").at(3) == logfile.Stamps(tmp_path / "l.1").at(2) + 1
    assert logfile.Stamps(tmp_path / "none").at(0) is None


def test_a_log_goes_on_where_another_stopped(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        log = BoundedLog(tmp_path / "l")
        log.write(text)
        log.close()
    assert (tmp_path / "l").read_bytes() == b"onetwo"


def test_a_full_disk_costs_lines_and_says_so(small_disk: SmallDisk) -> None:
    with small_disk("64k") as disk:
        log = BoundedLog(disk / "l")
        (disk / "filler").write_bytes(b"x" * 40960)
        for _ in range(100):
            log.write(b"y" * 1000)
        assert log.lost > 50_000
        kept = (disk / "l").stat().st_size
        (disk / "filler").unlink()
        log.write(b"room again")
        assert log.lost == 0
        text = (disk / "l").read_bytes()[kept:]
        assert text == b"\r\n[floe: %d bytes are missing here: the disk was full]\r\nroom again" % (100_000 - kept)
        log.close()
