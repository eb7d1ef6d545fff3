# SPDX-License-Identifier: MIT
"""Start and end a lab: a machine under QEMU's emulation, from a snapshot of it when it was booted.

The snapshot is made once for each QEMU, memory size and set of packages: the machine's memory in a file, which later
starts map copy-on-write, and the devices' state as QEMU's migration writes it. It lies in the folder of the assets.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from floe.errors import FloeError, VmError
from floe.lab import assets, packages
from floe.lab.assets import Assets, Recipe
from floe.lab.connection import AGENT_PORT, Lab, Record
from floe.lab.monitor import Qmp
from floe.qemu import commandline as chosen
from floe.store import vmfolder

_STATE_MIB = 16  # of the devices, and more than they have
_PAST = b"(all this was said before the snapshot)\n"
_BOOT_S, _START_S, _MIGRATE_S = 240.0, 60.0, 120.0
_END_S = 5.0
_AGENT_PORTS = 16  # handshakes at the same time
Say = Callable[[str], None]


class LabFailed(VmError):
    """A lab did not come up. Carries the logs' last lines."""

    def __init__(self, lab: Lab, problem: str, hint: str = "") -> None:
        super().__init__(problem, evidence=lab.evidence(), hint=hint or f"{lab.up} --fresh")


@dataclass(frozen=True)
class Design:
    """What a lab is made of. system: what is booted, for messages; own: bytes of RAM beside the guests'. boot: QEMU's
    options for the first boot, from the folder of the files. farewell: a shell script that ends guests, from a number
    of seconds; it prints "guests" when there are any. hint: the next step when Linux says that it failed."""

    lab: Lab
    recipe: Recipe
    system: str
    cpu: str
    own: int
    default_memory: int
    boot: Callable[[Path], list[str]]
    farewell: Callable[[int], str] = lambda _: ":"
    hint: Callable[[str], str] = lambda _: ""


@dataclass(frozen=True)
class Machine:
    """What decides whether a snapshot fits."""

    design: Design
    assets: Assets
    memory: int
    qemu: str  # path
    version: str

    @property
    def snapshot(self) -> Path:
        """Folder of its snapshot, with ram and state when it is there."""
        boot = self.design.boot(Path())
        words = [self.version, *boot, *self.command("", shared=False), *_wiring(self.design.lab, "", "")]
        return self.assets.folder / f"snapshot-{hashlib.sha256(shlex.join(words).encode()).hexdigest()[:16]}"

    def command(self, ram: str, *, shared: bool) -> list[str]:
        """QEMU's command line without what differs between two starts."""
        mib = (self.design.own + self.memory) >> 20
        share = "on" if shared else "off"
        return [
            self.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S",
            "-accel", "tcg", "-cpu", self.design.cpu, "-smp", "1", "-M", "pc,memory-backend=ram", "-m", f"{mib}M",
            "-object", f"memory-backend-file,id=ram,size={mib}M,mem-path={escaped(ram)},share={share}",
            "-netdev", f"user,id=n0,net={self.design.lab.network}", "-device", "virtio-net-pci,netdev=n0,romfile=",
        ]  # fmt: skip


def _wiring(lab: Lab, com2: str, qmp: str) -> list[str]:
    """The serial ports and the monitor: the lab's log, its Linux's terminal, and descriptors of two sockets."""
    return [
        "-chardev", f"file,id=com1,path={lab.log},append=on", "-serial", "chardev:com1",
        "-chardev", f"socket,id=com2,fd={com2},logfile={lab.terminal}", "-serial", "chardev:com2",
        "-chardev", f"socket,id=qmp,fd={qmp},server=on,wait=off", "-mon", "chardev=qmp,mode=control",
    ]  # fmt: skip


class Qemu:
    """A QEMU that was started: its monitor and Linux's terminal. Ended on close() unless keep() was called."""

    def __init__(
        self, design: Design, argv: list[str], process: subprocess.Popen[bytes], com2: socket.socket, qmp: Qmp
    ) -> None:
        self._lab = design.lab
        self._hint = design.hint
        self._com2 = com2
        self._said = b""
        self._kept = False
        self.argv = argv
        self.process = process
        self.qmp = qmp

    @classmethod
    def start(cls, machine: Machine, ram: Path, more: list[str], *, shared: bool, past: bytes = b"") -> Qemu:
        """In the lab's folder. `past`: what the lab's log begins with. Raises VmError."""
        lab = machine.design.lab
        folder = lab.folder()
        for name, content in ((lab.log, past), (lab.terminal, b""), ("qemu.log", b"")):
            (folder / name).write_bytes(content)
        with contextlib.ExitStack() as undo:
            com2, theirs = socket.socketpair()
            undo.enter_context(com2)
            with theirs, _listen(folder) as listening:
                wiring = _wiring(lab, str(theirs.fileno()), str(listening.fileno()))
                argv = [*machine.command(str(ram), shared=shared), *wiring, *more]
                process = _spawn(argv, folder, (theirs.fileno(), listening.fileno()))
                undo.callback(_kill, process)
            try:
                # Known before it is of use, so that the next `up` can end it if this one dies.
                (folder / "starting").write_bytes(msgspec.json.encode(_Started(_process(lab, process.pid))))
                qmp = undo.enter_context(contextlib.closing(Qmp(_connect(folder), lab.evidence)))
                qmp.greet(_START_S)
                qmp.execute("migrate-set-capabilities", capabilities=[
                    {"capability": name, "state": True} for name in ("x-ignore-shared", "events")
                ])  # fmt: skip
            except OSError as e:
                raise LabFailed(lab, "QEMU does not start", "floe doctor") from e
            undo.pop_all()
            return cls(machine.design, argv, process, com2, qmp)

    def migrate(self, command: str, uri: str) -> None:
        """Write or read the devices' state. Raises LabFailed."""
        self.qmp.execute(command, uri=uri)
        status = self.qmp.wait("MIGRATION", lambda data: data["status"] in ("completed", "failed"), _MIGRATE_S)
        if status["status"] == "failed":
            raise LabFailed(self._lab, f"QEMU's {command} failed")

    def tell(self, line: str) -> None:
        """Type a line at Linux's terminal."""
        self._com2.sendall(line.encode() + b"\n")

    def expect(self, word: str, deadline_s: float) -> None:
        """Wait for Linux's line "lab: WORD". Raises LabFailed with what it said in its place."""
        ends = time.monotonic() + deadline_s
        while (match := re.search(rb"^lab: (failed: .*|%b)\r?\n" % word.encode(), self._said, re.MULTILINE)) is None:
            self._com2.settimeout(max(0.01, ends - time.monotonic()))
            try:
                data = self._com2.recv(1 << 16)
            except TimeoutError:
                problem = f"{self._lab.linux} did not say '{word}' within {deadline_s:g} s"
                raise LabFailed(self._lab, problem) from None
            except OSError:
                data = b""
            if not data:
                raise LabFailed(self._lab, f"QEMU ended before {self._lab.linux} was up")
            self._said += data
        if match[1] != word.encode():
            text = match[1].decode("utf-8", "replace").removeprefix("failed: ").strip()
            raise LabFailed(self._lab, f"{self._lab.linux} did not come up: {text}", self._hint(text))

    def keep(self) -> None:
        """Let it run on after close()."""
        self._kept = True

    def close(self) -> None:
        """Close the connections; end it if it is not to be kept."""
        if not self._kept:
            _kill(self.process)
        self.qmp.close()
        self._com2.close()


def _spawn(argv: list[str], folder: Path, descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
    with (folder / "qemu.log").open("ab") as log:
        return subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            start_new_session=True,
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _listen(folder: Path) -> socket.socket:
    """The monitor's socket. By way of a descriptor: the folder's path may be longer than unix(7) lets it be."""
    (folder / "qmp").unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    with _short(folder) as short:
        sock.bind(f"{short}/qmp")
    sock.listen(16)
    return sock


def _connect(folder: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    with _short(folder) as short:
        sock.connect(f"{short}/qmp")
    return sock


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


# ---- up -----------------------------------------------------------------------------------------


def up(
    design: Design, say: Say, memory: int | None = None, *, fresh: bool = False, any_version: bool = False
) -> Record:
    """Start the lab, or find it up. Raises FloeError, VmError with the logs."""
    path, lab = chosen.find_qemu(), design.lab
    with assets.locked(lab.folder() / "lock", say):
        record = lab.read_record()
        if record is not None and record.process.alive:
            if fresh or any_version or (memory is not None and memory != record.memory):
                raise FloeError(f"{lab.title} is up already", hint=f"floe lab {lab.name} down, then the same again")
            return record
        _clean(lab)
        brought = assets.bring(design.recipe, say, any_version=any_version, fresh=fresh)
        machine = Machine(design, brought, memory or design.default_memory, path, _version(path))
        try:
            return _start(machine, say)
        except OSError as e:
            raise FloeError(f"cannot start {lab.title}: {e}", hint=f"df -h {lab.folder()}") from e


def _start(machine: Machine, say: Say) -> Record:
    made_now = _take_snapshot(machine, say)
    bad = _identity(machine)
    try:
        return _restore(machine, say)
    except VmError:
        if made_now:
            raise
        say("the snapshot does not start; taking another")
        _take_snapshot(machine, say, bad)
        return _restore(machine, say)


def _identity(machine: Machine) -> tuple[int, int] | None:
    """Which snapshot there is; None without one."""
    try:
        there = (machine.snapshot / "boot.log").stat()
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns


def _take_snapshot(machine: Machine, say: Say, bad: tuple[int, int] | None = None) -> bool:
    """Take a snapshot if there is none but the bad one. False: there is; another lab may have taken it meanwhile."""
    files = machine.assets.folder
    if " " in str(files):
        hint = "set XDG_CACHE_HOME to a folder without one"
        raise FloeError(
            f"{machine.design.lab.title}'s files cannot lie in {files}: QEMU's -initrd takes no blank in a path",
            hint=hint,
        )
    if _identity(machine) not in (None, bad):
        return False
    with assets.locked(files / "lock", say):
        if _identity(machine) not in (None, bad):
            return False
        shutil.rmtree(machine.snapshot, ignore_errors=True)
        assets.forget_old(files, "snapshot-*")
        need = machine.design.own + (_STATE_MIB << 20)  # guests' memory is a hole in the file
        packages.check_room(files, need, purpose=machine.design.recipe.purpose)
        _boot(machine, say)
    return True


def _boot(machine: Machine, say: Say) -> None:
    say(f"booting {machine.design.system} for the first time (some 10 s)")
    lab = machine.design.lab
    with assets.made(machine.snapshot) as scratch:
        qemu = Qemu.start(machine, scratch / "ram", machine.design.boot(machine.assets.folder), shared=True)
        with contextlib.closing(qemu):
            qemu.qmp.execute("cont")
            qemu.expect("ready", _BOOT_S)
            say("writing the snapshot")
            qemu.qmp.execute("stop")
            qemu.migrate("migrate", f"exec:cat >{shlex.quote(str(scratch / 'state'))}")
            qemu.qmp.execute("quit")
            (scratch / "boot.log").write_bytes((lab.folder() / lab.log).read_bytes() + _PAST)
            with contextlib.suppress(subprocess.TimeoutExpired):
                qemu.process.wait(_END_S)


def _restore(machine: Machine, say: Say) -> Record:
    lab = machine.design.lab
    say(f"starting {machine.design.system} from its snapshot")
    folder = lab.folder()
    token = secrets.token_hex(32)
    with contextlib.ExitStack() as stack:
        with assets.locked(machine.assets.folder / "lock", say, shared=True):  # or a lab of another user's replaces it
            past = (machine.snapshot / "boot.log").read_bytes()
            os.utime(machine.snapshot)
            qemu = Qemu.start(machine, machine.snapshot / "ram", ["-incoming", "defer"], shared=False, past=past)
            stack.enter_context(contextlib.closing(qemu))
            qemu.migrate("migrate-incoming", f"exec:cat {shlex.quote(str(machine.snapshot / 'state'))}")
        for _ in range(_AGENT_PORTS):
            if said := qemu.qmp.human(f"hostfwd_add tcp:127.0.0.1:0-{lab.address}:{AGENT_PORT}"):
                raise LabFailed(lab, f"QEMU does not forward a port to {lab.linux}: {said}")
        qemu.qmp.execute("cont")
        now = time.time()
        qemu.tell(f"{token} {int(now)} {int(now % 1 * 1e6)}")
        qemu.expect("up", _START_S)
        record = Record(
            process=_process(lab, qemu.process.pid),
            ports=_forwarded_ports(lab, qemu.qmp.human("info usernet")),
            token=token,
            memory=machine.memory,
            created=time.time(),
            versions={**machine.assets.versions, "qemu": machine.version},
            argv=qemu.argv,
        )
        lab.connect_to(record, ":", _START_S).close()
        _write(folder, record)
        qemu.keep()
    return record


def _process(lab: Lab, pid: int) -> vmfolder.Process:
    process = vmfolder.Process.of(pid)
    if process is None:
        raise LabFailed(lab, "QEMU ended before the lab was up")
    return process


def _write(folder: Path, record: Record) -> None:
    fd = os.open(folder / ".lab.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(msgspec.json.encode(record) + b"\n")
    os.replace(folder / ".lab.json", folder / "lab.json")
    (folder / "starting").unlink(missing_ok=True)


def _forwarded_ports(lab: Lab, usernet: str) -> list[int]:
    """The host's ports in QEMU's table of forwards. Raises LabFailed."""
    row = rf"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+{re.escape(lab.address)}\s"
    found = [int(port) for port in re.findall(row, usernet)]
    if len(found) != _AGENT_PORTS:
        raise LabFailed(lab, f"QEMU does not say which ports it forwards to {lab.linux}")
    return found


def _version(qemu: str) -> str:
    """First line of what QEMU says of itself. Raises VmError when it cannot be run."""
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.splitlines()[0]
    except (OSError, subprocess.TimeoutExpired, IndexError) as e:
        raise VmError(f"{qemu} cannot be run: {e}", hint="floe doctor") from e


def escaped(path: Path | str) -> str:
    """A path as a value of one of QEMU's options."""
    return str(path).replace(",", ",,")


# ---- down ---------------------------------------------------------------------------------------


def down(design: Design, say: Say, grace_s: float = 5.0) -> bool:
    """End the lab: guests are told to shut down and get grace_s for it. False: it was not up."""
    lab = design.lab
    with assets.locked(lab.folder() / "lock", say):
        record = lab.read_record()
        up = record is not None and record.process.alive
        if record is not None and up:
            _shut_down(design, record, say, grace_s)
            with contextlib.suppress(FloeError), lab.qmp() as monitor:
                monitor.execute("quit")
            _end(record.process)
        _clean(lab)
        return up


def _shut_down(design: Design, record: Record, say: Say, grace_s: float) -> None:
    script = design.farewell(max(1, round(grace_s)))
    with contextlib.suppress(FloeError, OSError), design.lab.connect_to(record, script, 3.0) as sock:
        sock.settimeout(grace_s + 2)
        while data := sock.recv(4096):
            if b"guests" in data:
                say("shutting guests down")


def _end(process: vmfolder.Process) -> None:
    """Wait for its end; SIGTERM and SIGKILL when it takes too long."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(process.pid)
        try:
            for number in (None, signal.SIGTERM, signal.SIGKILL):
                if not process.alive or (number is not None and not process.signal(number)):
                    return
                select.select([fd], [], [], _END_S)
        finally:
            os.close(fd)


def _clean(lab: Lab) -> None:
    """Remove what a lab that ended has left, and end one that never came up. The logs stay."""
    folder = lab.folder()
    for name in ("starting", "lab.json"):
        process = _process_in(folder / name)
        if process is not None and process.alive:
            process.signal(signal.SIGKILL)
            _end(process)
    for name in ("lab.json", "starting", "qmp"):
        (folder / name).unlink(missing_ok=True)
    for name in ("addresses", "forwards", "agents", "disks", "ports"):
        shutil.rmtree(folder / name, ignore_errors=True)


class _Started(msgspec.Struct):
    """What every version of floe writes down about a QEMU."""

    process: vmfolder.Process


def _process_in(path: Path) -> vmfolder.Process | None:
    """The process that a record names, also one that another version of floe wrote."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Started).process
    except (OSError, msgspec.DecodeError):
        return None
