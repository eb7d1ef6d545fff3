# SPDX-License-Identifier: MIT
"""A lab that is up: run scripts in its dom0, forward ports to guests, lend guest addresses. Prints nothing.

Starting and ending it: machine.py. Its folder is $XDG_STATE_HOME/floe/lab/xen. What is lent (an address, a forwarded
port) is a file there that its borrower holds locked, flock(2): the kernel gives it back when the borrower dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from floe import state
from floe.errors import FloeError, NotFound, UsageError, VmError
from floe.xen.labqmp import TIMEOUT_S, Qmp

BRIDGE = "xenbr0"
NETWORK_BITS = 24
GATEWAY = "10.0.2.2"
DNS = "10.0.2.3"
DOM0 = "10.0.2.14"
FIRST_GUEST, LAST_GUEST = 16, 250  # of 10.0.2.0/24
_NO_GUEST = (0, 2, 3, 14, 255)  # the network's own, the gateway, the name server, dom0, all
AGENT_PORT = 4242  # in dom0
SCRIPT_MAX = 100_000  # bytes; one argument of execve(2) holds 128 KiB
HINT_UP = "floe lab xen up"
_TURN_S = 30.0  # until the monitor is ours: others plug a disk or forward a port meanwhile
_SWEEP_S = 5.0  # who looks for what the dead have left may hold a new file for a moment
_LOOK_S = 0.02
_ACCEPTED, _GO = b"ok\n", b"go\n"
_FIRST_TRY_S = 2.0
_LOG_TAIL = 1 << 16
_LOG_MAX = 16 << 20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down about a running lab, as lab.json."""

    process: state.Process  # QEMU
    ports: list[int]  # of 127.0.0.1, all of them the agent's
    token: str  # 64 hexadecimal digits; the file can be read by its owner only
    memory: int  # bytes for guests
    created: float  # time.time()
    versions: dict[str, str]  # package: version, of those that matter to a reader
    argv: list[str]


def folder() -> Path:
    """The lab's folder; it need not exist."""
    return state.root().parent / "lab" / "xen"


def read_record() -> Record | None:
    """What is written down, also when that QEMU is gone; None where there is nothing that makes sense."""
    try:
        return msgspec.json.decode((folder() / "lab.json").read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def is_up() -> bool:
    """Whether the lab's QEMU runs, ready for connect()."""
    record = read_record()
    return record is not None and record.process.alive


def running() -> Record:
    """The lab that runs. Raises NotFound when there is none, VmError with the logs when its QEMU died."""
    record = read_record()
    if record is None:
        raise NotFound("the Xen lab is not up", hint=HINT_UP)
    if not record.process.alive:
        raise VmError("the Xen lab's QEMU has ended by itself", evidence=evidence(), hint=HINT_UP)
    return record


# ---- logs ---------------------------------------------------------------------------------------


def log_tail(name: str, lines: int) -> str:
    """The last lines of a log of the lab, without control characters; "" without one."""
    try:
        with (folder() / name).open("rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - _LOG_TAIL))
            text = f.read().decode("utf-8", "replace")
    except OSError:
        return ""
    kept = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]|[^\x20-\x7e\t]", "", line).rstrip() for line in text.splitlines()]
    return "\n".join([line for line in kept if line][-lines:])


def xen_log_tail(lines: int = 12) -> str:
    """The last lines of what the hypervisor and dom0's kernel said."""
    return log_tail("xen.log", lines)


def evidence() -> str:
    """What QEMU and the hypervisor said last, for an error."""
    parts = [
        f"{label}: {line}"
        for label, name, lines in (("qemu", "qemu.log", 4), ("dom0", "dom0.log", 4), ("xen", "xen.log", 10))
        for line in log_tail(name, lines).splitlines()
    ]
    return "\n".join(parts)


# ---- scripts in dom0 ----------------------------------------------------------------------------


def connect(script: str, *, deadline_s: float = 20.0) -> socket.socket:
    """Start a shell script in dom0. The socket is its standard input, output and error: end of file from it says
    that the script and all its children have ended, shutdown(SHUT_WR) or close() is the end of the script's input.
    A half-closed connection on which nothing moves for 10 minutes is ended by QEMU's network.

    Raises NotFound without a lab, VmError when dom0 does not take the script within deadline_s."""
    record = running()
    _bound_log()
    return connect_to(record, script, deadline_s)


def _bound_log() -> None:
    """Guests may say what they like to the hypervisor's log. QEMU appends to it, so that it may be cut at any time."""
    with contextlib.suppress(OSError):
        if (folder() / "xen.log").stat().st_size > _LOG_MAX:
            os.truncate(folder() / "xen.log", 0)


def connect_to(record: Record, script: str, deadline_s: float) -> socket.socket:
    """connect(), for a lab that is known."""
    data = script.encode()
    if len(data) > SCRIPT_MAX or "\0" in script:
        raise FloeError(f"a script for dom0 has at most {SCRIPT_MAX} bytes and no zeros among them")
    ends = time.monotonic() + deadline_s
    patience_s = _FIRST_TRY_S
    while True:
        # The script does not run before the agent was told to go: a try that failed has done nothing. Under load
        # QEMU's network loses a handshake now and then.
        try:
            with _port(record, ends) as port:
                return _handshake(port, record.token, data, min(patience_s, ends - time.monotonic()))
        except OSError as e:
            if isinstance(e, TimeoutError) and time.monotonic() < ends and record.process.alive:
                patience_s *= 2
                continue
            why = f"no answer within {deadline_s:g} s" if isinstance(e, TimeoutError) else str(e)
            hint = "floe lab xen down && floe lab xen up"
            raise VmError(f"the Xen lab's dom0 does not take a script: {why}", evidence=evidence(), hint=hint) from e


def _handshake(port: int, token: str, script: bytes, timeout_s: float) -> socket.socket:
    """One try to start a script. Raises OSError, TimeoutError."""
    ends = time.monotonic() + timeout_s
    sock = socket.create_connection(("127.0.0.1", port), max(0.01, timeout_s))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(f"{token}\n{len(script)}\n".encode() + script)
        answer = b""
        while len(answer) < len(_ACCEPTED):
            sock.settimeout(max(0.01, ends - time.monotonic()))
            if not (got := sock.recv(len(_ACCEPTED) - len(answer))):
                raise ConnectionError("it closed the connection")
            answer += got
        if answer != _ACCEPTED:
            raise ConnectionError(f"it said {answer!r}")
        sock.settimeout(None)
        sock.sendall(_GO)
        return sock
    except BaseException:
        sock.close()
        raise


@contextlib.contextmanager
def _port(record: Record, ends: float) -> Iterator[int]:
    """A port that no other handshake uses: QEMU listens with a backlog of one, and the kernel's next try comes seconds
    later. Waits for one where all are in use. Raises TimeoutError."""
    paths = [folder() / "agents" / str(port) for port in record.ports]
    free = ((path, fd) for path in paths if (fd := lock(path)) is not None)
    path, fd = next(free, (None, None))
    if path is None or fd is None:
        path = random.choice(paths)
        fd = lock(path, wait_s=ends - time.monotonic())
        if fd is None:
            raise TimeoutError
    try:
        yield int(path.name)
    finally:
        os.close(fd)


def call(script: str, *, stdin: bytes = b"", deadline_s: float = 30.0) -> str:
    """Run a short script to its end and return what it printed. Raises as connect(), VmError at the deadline."""
    ends = time.monotonic() + deadline_s
    with connect(script, deadline_s=deadline_s) as sock:
        said = bytearray()
        try:
            sock.settimeout(max(0.01, ends - time.monotonic()))
            sock.sendall(stdin)
            sock.shutdown(socket.SHUT_WR)
            while True:
                sock.settimeout(max(0.01, ends - time.monotonic()))
                if not (data := sock.recv(1 << 16)):
                    return said.decode("utf-8", "replace")
                said += data
        except OSError as e:
            seen = said[-500:].decode("utf-8", "replace").strip()
            raise VmError(
                f"a script in the Xen lab's dom0 did not end within {deadline_s:g} s",
                evidence="\n".join(filter(None, [seen, evidence()])),
            ) from e


# ---- what is lent -------------------------------------------------------------------------------


class Lease:
    """Something lent, until close() or the end of this process. A context manager."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The locked file: who inherits it holds what is lent too."""
        return self._fd

    def close(self) -> None:
        """Give it back. A second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Address(Lease):
    """An IPv4 address of the lab's network that no other guest uses."""

    def __init__(self, fd: int, path: Path) -> None:
        super().__init__(fd, path)
        self.text = path.name


class Forward(Lease):
    """A port of this machine that reaches a guest's port; close() takes it back."""

    def close(self) -> None:
        if self._fd < 0:
            return
        with contextlib.suppress(FloeError, OSError):  # a lab that is gone forwards nothing
            _unforward(self._path)
        super().close()


def take_address(number: int | None = None) -> Address:
    """A free guest address, or 10.0.2.`number`. Raises NotFound without a lab, UsageError for one that no guest may
    have, FloeError when all (or it) are taken."""
    if number in _NO_GUEST:
        raise UsageError(f"10.0.2.{number} is the Xen lab's own", hint=f"10.0.2.{FIRST_GUEST} to 10.0.2.{LAST_GUEST}")
    running()
    for n in range(FIRST_GUEST, LAST_GUEST + 1) if number is None else (number,):
        if (lease := lock(folder() / "addresses" / f"10.0.2.{n}")) is not None:
            return Address(lease, folder() / "addresses" / f"10.0.2.{n}")
    what = "all guest addresses of the Xen lab are" if number is None else f"10.0.2.{number} in the Xen lab is"
    raise FloeError(f"{what} taken", hint="floe ps, floe stop NAME")


def forward(host: str, host_port: int, guest: str, guest_port: int, protocol: str = "tcp") -> Forward:
    """Let host:host_port (an IPv4 address of this machine) reach guest:guest_port. protocol: tcp or udp.

    Raises NotFound without a lab, FloeError when the host's port is taken or may not be used."""
    running()
    path = folder() / "forwards" / f"{protocol}-{host}-{host_port}"
    forget_dead_forwards()
    fd = lock(path, wait_s=_SWEEP_S)
    if fd is None:
        raise FloeError(f"port {host_port} is forwarded to another guest of the Xen lab", hint="floe ps")
    try:
        said = monitor(f"hostfwd_add {protocol}:{host}:{host_port}-{guest}:{guest_port}")
        if said:
            raise FloeError(f"cannot forward port {host_port}: {said}", hint="another port of the host, or 0 for any")
    except BaseException:
        os.close(fd)
        raise
    return Forward(fd, path)


def forget_dead_forwards() -> None:
    """Take back the ports whose borrowers died, which QEMU still listens at; nothing without a lab."""
    if not is_up() or not (folder() / "forwards").is_dir():
        return
    for path in (folder() / "forwards").iterdir():
        if (fd := lock(path)) is not None:
            try:
                _unforward(path)
            except FloeError:
                continue  # for the next who looks
            finally:
                os.close(fd)


def _unforward(path: Path) -> None:
    protocol, host, port = path.name.split("-")
    monitor(f"hostfwd_remove {protocol}:{host}:{port}")
    path.unlink(missing_ok=True)


def lock(path: Path, *, wait_s: float = 0) -> int | None:
    """A descriptor that holds the file locked; None when somebody else has held it all the time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ends = time.monotonic() + wait_s
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            if (left := ends - time.monotonic()) <= 0:
                return None
            select.select([], [], [], min(left, _LOOK_S))
            continue
        except FileNotFoundError:
            pass  # removed between the two: once more
        os.close(fd)


# ---- QEMU's monitor -----------------------------------------------------------------------------


@contextlib.contextmanager
def qmp() -> Iterator[Qmp]:
    """A monitor connection to the lab; one client at a time, the others wait their turn. Raises VmError."""
    record_folder = folder()
    turn = lock(record_folder / "qmp.lock", wait_s=_TURN_S)
    if turn is None:
        raise VmError(f"another floe has held the Xen lab's monitor for {_TURN_S:g} s", hint="floe lab xen down")
    try:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(TIMEOUT_S)
            # By way of a descriptor: the folder's own path may be longer than sun_path of unix(7).
            fd = os.open(record_folder, os.O_PATH | os.O_CLOEXEC)
            try:
                sock.connect(f"/proc/self/fd/{fd}/qmp")
            finally:
                os.close(fd)
        except OSError as e:
            sock.close()
            raise VmError(f"the Xen lab's QEMU does not answer: {e}", evidence=evidence(), hint=HINT_UP) from e
        client = Qmp(sock, evidence)
        try:
            client.greet()
            yield client
        finally:
            client.close()
    finally:
        os.close(turn)


def monitor(line: str) -> str:
    """What QEMU's human monitor says to a command; "" when it did it. Raises VmError."""
    with qmp() as client:
        return client.human(line)
