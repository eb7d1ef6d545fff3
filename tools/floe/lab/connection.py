# SPDX-License-Identifier: MIT
"""A lab that is up: run scripts in its Linux, forward ports into it.

Starting and ending it: boot.py. Its folder is $XDG_STATE_HOME/floe/lab/NAME. What is lent (a forwarded port, an
address, a disk) is a file there: leases.py.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from floe.errors import FloeError, NotFound, VmError
from floe.lab.leases import Lease, lock
from floe.lab.monitor import TIMEOUT_S, Qmp
from floe.store import vmfolder

NETWORK_BITS = 24
AGENT_PORT = 4242  # in the lab's Linux
SCRIPT_MAX = 100_000  # bytes; one argument of execve(2) holds 128 KiB
_TURN_S = 30.0  # until the monitor is ours: others plug a disk or forward a port meanwhile
_SWEEP_S = 5.0  # who looks for what the dead have left may hold a new file for a moment
_ACCEPTED, _GO = b"ok\n", b"go\n"
_FIRST_TRY_S = 2.0
_LOG_TAIL = 1 << 16
_LOG_MAX = 16 << 20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down about a running lab, as lab.json."""

    process: vmfolder.Process  # QEMU
    ports: list[int]  # of 127.0.0.1, all of them the agent's
    token: str  # 64 hexadecimal digits; the file can be read by its owner only
    memory: int  # bytes for guests
    created: float  # time.time()
    versions: dict[str, str]  # package: version, of those that matter to a reader
    argv: list[str]


@dataclass(frozen=True)
class Lab:
    """One of the labs. linux: what its Linux is called; terminal, log: files of what that says, and of what the whole
    machine says. net: what the addresses of its network begin with."""

    name: str  # "xen": of its verb and its folder
    title: str  # "the Xen lab"
    linux: str
    terminal: str
    log: str
    net: str = "10.0.2"

    @property
    def network(self) -> str:
        """As QEMU's net= has it."""
        return f"{self.net}.0/{NETWORK_BITS}"

    @property
    def gateway(self) -> str:
        """QEMU, and the way out."""
        return f"{self.net}.2"

    @property
    def dns(self) -> str:
        """The name server."""
        return f"{self.net}.3"

    @property
    def address(self) -> str:
        """That of its Linux."""
        return f"{self.net}.14"

    @property
    def up(self) -> str:
        """The command that starts it."""
        return f"floe lab {self.name} up"

    def folder(self) -> Path:
        """The lab's folder; it need not exist."""
        return vmfolder.root().parent / "lab" / self.name

    def read_record(self) -> Record | None:
        """What is written down, also when that QEMU is gone; None where there is nothing that makes sense."""
        try:
            return msgspec.json.decode((self.folder() / "lab.json").read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return None

    def is_up(self) -> bool:
        """Whether the lab's QEMU runs, ready for connect()."""
        record = self.read_record()
        return record is not None and record.process.alive

    def running(self) -> Record:
        """The lab that runs. Raises NotFound when there is none, VmError with the logs when its QEMU died."""
        record = self.read_record()
        if record is None:
            raise NotFound(f"{self.title} is not up", hint=self.up)
        if not record.process.alive:
            raise VmError(f"{self.title}'s QEMU has ended by itself", evidence=self.evidence(), hint=self.up)
        return record

    def log_tail(self, name: str, lines: int) -> str:
        """The last lines of a log of the lab, without control characters; "" without one."""
        try:
            with (self.folder() / name).open("rb") as f:
                f.seek(max(0, os.fstat(f.fileno()).st_size - _LOG_TAIL))
                text = f.read().decode("utf-8", "replace")
        except OSError:
            return ""
        kept = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]|[^\x20-\x7e\t]", "", line).rstrip() for line in text.splitlines()]
        return "\n".join([line for line in kept if line][-lines:])

    def evidence(self) -> str:
        """What QEMU and the lab said last, for an error."""
        parts = [
            f"{label}: {line}"
            for label, name, lines in (
                ("qemu", "qemu.log", 4),
                (self.linux, self.terminal, 4),
                (self.name, self.log, 10),
            )
            for line in self.log_tail(name, lines).splitlines()
        ]
        return "\n".join(parts)

    def connect(self, script: str, *, deadline_s: float = 20.0) -> socket.socket:
        """Start a shell script in the lab. The socket is its standard input, output and error: end of file from it says
        that the script and all its children have ended, shutdown(SHUT_WR) or close() is the end of the script's input.
        A half-closed connection on which nothing moves for 10 minutes is ended by QEMU's network.

        Raises NotFound without a lab, VmError when the lab does not take the script within deadline_s."""
        record = self.running()
        self._bound_log()
        return self.connect_to(record, script, deadline_s)

    def _bound_log(self) -> None:
        """Guests may say what they like to it. QEMU appends, so that it may be cut at any time."""
        with contextlib.suppress(OSError):
            if (self.folder() / self.log).stat().st_size > _LOG_MAX:
                os.truncate(self.folder() / self.log, 0)

    def connect_to(self, record: Record, script: str, deadline_s: float) -> socket.socket:
        """connect(), for a lab that is known."""
        data = script.encode()
        if len(data) > SCRIPT_MAX or "\0" in script:
            raise FloeError(f"a script for {self.linux} has at most {SCRIPT_MAX} bytes and no zeros among them")
        ends = time.monotonic() + deadline_s
        patience_s = _FIRST_TRY_S
        while True:
            # The script does not run before the agent was told to go: a try that failed has done nothing. Under load
            # QEMU's network loses a handshake now and then.
            try:
                with self._port(record, ends) as port:
                    return _handshake(port, record.token, data, min(patience_s, ends - time.monotonic()))
            except OSError as e:
                if isinstance(e, TimeoutError) and time.monotonic() < ends and record.process.alive:
                    patience_s *= 2
                    continue
                why = f"no answer within {deadline_s:g} s" if isinstance(e, TimeoutError) else str(e)
                hint = f"floe lab {self.name} down && {self.up}"
                raise VmError(
                    f"{self.title}'s {self.linux} does not take a script: {why}", evidence=self.evidence(), hint=hint
                ) from e

    @contextlib.contextmanager
    def _port(self, record: Record, ends: float) -> Iterator[int]:
        """A port that no other handshake uses: QEMU listens with a backlog of one, and the kernel's next try comes
        seconds later. Waits for one where all are in use. Raises TimeoutError."""
        paths = [self.folder() / "agents" / str(port) for port in record.ports]
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

    def call(self, script: str, *, stdin: bytes = b"", deadline_s: float = 30.0) -> str:
        """Run a short script to its end and return what it printed. Raises as connect(), VmError at the deadline."""
        ends = time.monotonic() + deadline_s
        with self.connect(script, deadline_s=deadline_s) as sock:
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
                    f"a script in {self.title}'s {self.linux} did not end within {deadline_s:g} s",
                    evidence="\n".join(filter(None, [seen, self.evidence()])),
                ) from e

    def forward(self, host: str, host_port: int, guest: str, guest_port: int, protocol: str = "tcp") -> Forward:
        """Let host:host_port (an IPv4 address of this machine) reach guest:guest_port. protocol: tcp or udp.

        Raises NotFound without a lab, FloeError when the host's port is taken or may not be used."""
        self.running()
        path = self.folder() / "forwards" / f"{protocol}-{host}-{host_port}"
        self.forget_dead_forwards()
        fd = lock(path, wait_s=_SWEEP_S)
        if fd is None:
            raise FloeError(f"port {host_port} is forwarded to another guest of {self.title}", hint="floe ps")
        try:
            said = self.monitor(f"hostfwd_add {protocol}:{host}:{host_port}-{guest}:{guest_port}")
            if said:
                raise FloeError(
                    f"cannot forward port {host_port}: {said}", hint="another port of the host, or 0 for any"
                )
        except BaseException:
            os.close(fd)
            raise
        return Forward(self, fd, path)

    def forget_dead_forwards(self) -> None:
        """Take back the ports whose borrowers died, which QEMU still listens at; nothing without a lab."""
        if not self.is_up() or not (self.folder() / "forwards").is_dir():
            return
        for path in (self.folder() / "forwards").iterdir():
            if (fd := lock(path)) is not None:
                try:
                    self.unforward(path)
                except FloeError:
                    continue  # for the next who looks
                finally:
                    os.close(fd)

    def unforward(self, path: Path) -> None:
        """Take a forwarded port back. Raises VmError."""
        protocol, host, port = path.name.split("-")
        self.monitor(f"hostfwd_remove {protocol}:{host}:{port}")
        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def qmp(self) -> Iterator[Qmp]:
        """A monitor connection to the lab; one client at a time, the others wait their turn. Raises VmError."""
        record_folder = self.folder()
        turn = lock(record_folder / "qmp.lock", wait_s=_TURN_S)
        if turn is None:
            raise VmError(
                f"another floe has held {self.title}'s monitor for {_TURN_S:g} s", hint=f"floe lab {self.name} down"
            )
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
                raise VmError(
                    f"{self.title}'s QEMU does not answer: {e}", evidence=self.evidence(), hint=self.up
                ) from e
            client = Qmp(sock, self.evidence)
            try:
                client.greet()
                yield client
            finally:
                client.close()
        finally:
            os.close(turn)

    def monitor(self, line: str) -> str:
        """What QEMU's human monitor says to a command; "" when it did it. Raises VmError."""
        with self.qmp() as client:
            return client.human(line)


class Forward(Lease):
    """A port of this machine that reaches a guest's port; close() takes it back."""

    def __init__(self, lab: Lab, fd: int, path: Path) -> None:
        super().__init__(fd, path)
        self._lab = lab

    def close(self) -> None:
        if self._fd < 0:
            return
        with contextlib.suppress(FloeError, OSError):  # a lab that is gone forwards nothing
            self._lab.unforward(self._path)
        super().close()


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
