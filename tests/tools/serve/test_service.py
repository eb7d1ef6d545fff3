# SPDX-License-Identifier: MIT
"""`floe serve` with real guests and clients: who gets which VM, when VMs come and go, and that nothing is lost or left."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.command import FLOE, failure
from tests.support.vms import until

GUEST = Path(__file__).resolve().parent / "guest_serve.py"
WAIT_S = 60.0


class Served:
    """A `floe serve` that runs. errors: what it and its VMs' 16550 said."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder
        until(lambda: "is served" in self.errors or process.poll() is not None, "floe serve")
        match = re.search(r"127\.0\.0\.1:(\d+) is served", self.errors)
        assert match is not None, self.errors
        self.port = int(match[1])

    @property
    def errors(self) -> str:
        return (self._folder / "err").read_text()

    @property
    def output(self) -> str:
        return (self._folder / "out").read_text()

    def client(self) -> Client:
        return Client(self.port)

    def vms(self) -> list[int]:
        """QEMUs that it has started and that still run."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


class Client:
    """A connection to a guest_serve.py."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        self.sock.close()

    def line(self) -> bytes:
        return self.file.readline()

    def ask(self, word: bytes) -> bytes:
        self.sock.sendall(word + b"\n")
        return self.line()

    def ended(self) -> bool:
        """Nothing more comes: it was closed or reset."""
        try:
            return self.file.read() == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """serve(APP, options): what runs at the end of the test is ended, and must leave no VM."""
    started: list[Served] = []

    def start(app: Path, *options: str) -> Served:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            argv = [*FLOE, "serve", "-p", "0:80", *options, str(app)]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        started.append(Served(process, folder))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            vms = served.vms()
            assert served.end() in (0, 130), served.errors
            assert not any(alive(pid) for pid in vms)
        assert "Traceback" not in served.errors and "PANIC" not in served.errors, served.errors


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def said_hello(client: Client) -> bool:
    return client.line() == b"hello\n"


def test_fifty_connections_in_turn_have_a_vm_each(serve: Callable[..., Served]) -> None:
    served = serve(GUEST, "--per-connection", "--accel", "tcg")
    assert served.vms() == []
    identities = set()
    for _ in range(50):
        with served.client() as client:
            assert said_hello(client)
            identities.add(client.ask(b"id"))
    assert len(identities) == 50
    until(lambda: served.vms() == [], "the end of all VMs")
    assert "[guest_serve-50] up" in served.output


def test_a_vm_for_all_until_nobody_is_connected(accel: str, serve: Callable[..., Served]) -> None:
    served = serve(GUEST, "--idle-stop", "1s", "--accel", accel, "--env", "LATER=200")
    identities = set()
    for _ in range(2):
        assert served.vms() == []
        with served.client() as first, served.client() as second:  # both wait for one VM, which does not listen yet
            assert said_hello(first)
            identities.add(first.ask(b"id"))
            first.sock.shutdown(socket.SHUT_WR)
            assert first.ended()
            assert said_hello(second)
            identities.add(second.ask(b"id"))
            assert len(served.vms()) == 1
        until(lambda: served.vms() == [], "the end of a VM that nobody needs")
    assert len(identities) == 1  # the appliance is the same
    assert served.output.count("up\n") == 2
    assert served.errors.count("\n") == 1, served.errors


def test_vms_that_wait(serve: Callable[..., Served]) -> None:
    served = serve(GUEST, "--per-connection", "--pool", "2", "--max", "3", "--accel", "tcg")
    until(lambda: served.output.count("up\n") == 2, "two VMs")
    first, second = served.vms()
    identities = set()
    with served.client() as client:
        assert said_hello(client)
        identities.add(client.ask(b"id"))
        until(lambda: served.output.count("up\n") == 3, "one that waits in its place")
        assert set(served.vms()) > {first, second}
        os.kill(second, signal.SIGKILL)
        until(lambda: len(served.vms()) == 2, "the end of one that waits")
    with served.client() as client:  # not by the one that was killed
        assert said_hello(client)
        identities.add(client.ask(b"id"))
    assert len(identities) == 2


def test_copies_of_one_that_was_set_up(accel: str, serve: Callable[..., Served]) -> None:
    """One VM is booted, and connections have copies of it: those that wait, and those that are made where none does."""
    served = serve(GUEST.with_name("guest_ready.py"), "--per-connection", "--pool", "2", "--max", "6", "--accel", accel)

    def is_there() -> bool:
        """Earlier ones have a VM that was booted."""
        with served.client() as client:
            return said_hello(client) and "[guest_ready.1] serves\n" in served.output

    until(is_there, "a copy")
    booted = served.output.count("set up\n")
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(served.client()) for _ in range(5)]
        assert all(said_hello(client) for client in clients)
        drawn = [word for client in clients for word in client.ask(b"who").split()]
        assert len(set(drawn)) == 2 * len(clients)
    assert served.output.count("set up\n") == booted
    until(lambda: len(served.vms()) == 2, "those that wait")
    os.kill(served.vms()[0], signal.SIGKILL)
    with served.client() as client:
        assert said_hello(client)
    assert served.output.count("set up\n") == booted


def test_nobody_waits_for_a_template(serve: Callable[..., Served], tmp_path: Path) -> None:
    """VMs are booted while it is not ready, and from then on where it ends before."""
    script = tmp_path / "unready.py"
    script.write_text("import os, vm\nif os.getenv('END'):\n    os._exit(4)\n" + GUEST.read_text())
    options = ("--per-connection", "--pool", "1", "--accel", "tcg")
    with serve(script, *options).client() as client:
        assert said_hello(client)
    ended = serve(script, *options, "--env", "END=1")
    until(lambda: "ended with 4 before vm.ready(): its VMs are booted instead" in ended.errors, "the template's end")


def test_bytes_both_ways_at_once_and_each_to_its_own_end(serve: Callable[..., Served]) -> None:
    served = serve(GUEST, "--per-connection", "--accel", "tcg")
    data = os.urandom(8 << 20)
    with served.client() as client, ThreadPoolExecutor(1) as pool:
        assert said_hello(client)
        sending = pool.submit(lambda: (client.sock.sendall(b"echo\n" + data), client.sock.shutdown(socket.SHUT_WR)))
        assert hashlib.sha256(client.file.read()).digest() == hashlib.sha256(data).digest()
        sending.result(WAIT_S)


def test_web_under_load(serve: Callable[..., Served], build: Callable[..., Path]) -> None:
    served = serve(build("web"), "--idle-stop", "30s", "--accel", "tcg")
    url = f"http://127.0.0.1:{served.port}/"
    argv = ["curl", "-sS", "--fail", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", url, url]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "1 0 "  # one connection for both
    vms = served.vms()
    done = subprocess.run(["wrk", "-c", "8", "-d", "2", "-t", "1", url], capture_output=True, text=True, check=True)
    assert "requests in" in done.stdout
    assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
    assert served.vms() == vms and len(vms) == 1  # nobody was connected for a moment


def test_no_more_vms_than_may_be(serve: Callable[..., Served]) -> None:
    served = serve(GUEST, "--per-connection", "--max", "2", "--accel", "tcg")
    with served.client() as third, served.client() as first, served.client() as second:
        clients = [first, second, third]
        with ThreadPoolExecutor(3) as pool:
            hellos = [pool.submit(said_hello, client) for client in clients]
            until(lambda: sum(hello.done() for hello in hellos) == 2, "two VMs")
            assert len(served.vms()) == 2
            left = next(i for i, hello in enumerate(hellos) if not hello.done())
            clients[(left + 1) % 3].sock.shutdown(socket.SHUT_WR)  # its guest closes, too
            clients[(left + 1) % 3].sock.close()
            assert all(hello.result(WAIT_S) for hello in hellos)
        assert len(served.vms()) == 2


def test_a_vm_that_dies(serve: Callable[..., Served]) -> None:
    """The connection ends, and the next one has a new VM."""
    served = serve(GUEST, "--idle-stop", "60s", "--accel", "tcg")
    with served.client() as client:
        assert said_hello(client)
        client.sock.sendall(b"end\n")
        assert client.ended()
    until(lambda: served.vms() == [], "the end of the VM")
    with served.client() as client:
        assert said_hello(client)
        os.kill(served.vms()[0], signal.SIGKILL)
        assert client.ended()
    until(lambda: served.vms() == [], "the end of the VM")
    with served.client() as client:
        assert said_hello(client)
    assert "floe: guest_serve: it ended with 3, exit\n" in served.errors
    assert "floe: guest_serve: QEMU was killed by SIGKILL\n" in served.errors


@pytest.mark.parametrize("how", [["--idle-stop", "60s"], ["--per-connection"]], ids=["idle", "each"])
def test_a_vm_that_cannot_start(how: list[str], serve: Callable[..., Served], tmp_path: Path) -> None:
    app = tmp_path / "broken.py"
    app.write_text("import socket, sys\nprint('tried')\nsys.exit(9)\n")
    served = serve(app, *how, "--accel", "tcg")
    for _ in range(40):
        try:
            with served.client() as client:
                assert client.ended()
        except ConnectionResetError:  # as early as in connect()
            pass
    tries = served.output.count("tried")
    assert 1 <= tries < 15
    assert len(re.findall(r"floe: broken(?:-\d+)? did not listen: it ended with 9, exit\n", served.errors)) == tries
    assert served.vms() == []


def test_ctrl_c_in_the_middle_of_a_request(serve: Callable[..., Served]) -> None:
    served = serve(GUEST, "--idle-stop", "60s", "--accel", "tcg")
    with served.client() as client:
        assert said_hello(client)
        assert client.ask(b"wait") == b"waiting\n"
        vms = served.vms()
        served.process.send_signal(signal.SIGINT)
        assert client.line() == b"the last word\n"
        assert client.ended()
    assert served.process.wait(WAIT_S) == 0
    assert not any(alive(pid) for pid in vms)


def test_kill_9_leaves_no_vm(serve: Callable[..., Served]) -> None:
    served = serve(GUEST, "--per-connection", "--accel", "tcg")
    with served.client() as client, served.client() as other:
        assert said_hello(client)
        assert said_hello(other)
        vms = served.vms()
        assert len(vms) == 2
        assert served.end(signal.SIGKILL) == -signal.SIGKILL
        assert client.ended()
    until(lambda: not any(map(alive, vms)), "the end of the VMs")


@pytest.mark.parametrize(
    ("options", "says", "hint"),
    [
        (
            ["-p", "0:80", "-p", "0:53/udp"],
            ":53/udp: floe serve has VMs for connections, and UDP has none",
            "floe run",
        ),
        (["-p", "0:80/spread"], "/spread: floe serve chooses the VM of a connection itself", ":80"),
        (["-p", "0:80", "--net", "tap:x"], "-p 0:80: no card to forward ports to", "--net user"),
        (
            ["-p", "0:80", "--per-connection", "--disk", "d:size=1M"],
            "several VMs at a time cannot write one disk",
            ":ro",
        ),
    ],
    ids=["udp", "spread", "tap", "disk"],
)
def test_what_is_refused(options: list[str], says: str, hint: str, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("import socket, vfs, vm\n")
    cause, _, tried = failure("serve", app, *options, code=125, cwd=tmp_path)
    assert says in cause
    assert hint in tried


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_a_port_in_use() -> None:
    with taken_port() as port:
        cause, _, hint = failure("serve", GUEST, "-p", f"{port}:80", code=125)
    assert cause == f"port {port} is in use"
    assert hint.startswith("-p ")
