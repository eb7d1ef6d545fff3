# SPDX-License-Identifier: MIT
"""Start and end the lab: Xen and dom0 under QEMU's emulation, from a snapshot of the booted machine. Prints nothing.

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

from floe import state
from floe.errors import FloeError, NotFound, VmError
from floe.xen import assets, lab, packages
from floe.xen.assets import Assets
from floe.xen.labqmp import Qmp

QEMU = "qemu-system-x86_64"
DEFAULT_MEMORY = 1 << 30  # bytes for guests
_DOM0_MIB = 320
_XEN_MIB = 96  # what the hypervisor keeps for itself
_STATE_MIB = 16  # of the devices, and more than they have
# No SMAP, RDTSCP or NRIPS: QEMU's emulation of them brings down a PV dom0 or its guests. RDRAND: dom0 need not wait
# for entropy.
_CPU = "qemu64,+svm,+npt,+rdrand"
_XEN_ARGS = (
    f"console=com1 com1=115200,8n1 dom0_mem={_DOM0_MIB}M,max:{_DOM0_MIB}M dom0_max_vcpus=1 bootscrub=0 spec-ctrl=no "
    "guest_loglvl=all"
)
# rootfstype: tmpfs, the default, ends at half of the memory.
_LINUX_ARGS = (
    "console=hvc0 rootfstype=ramfs quiet loglevel=4 swiotlb=1024 mitigations=off apparmor=0 audit=0 rodata=off "
    "tsc=unstable"
)
_PAST = b"(all this was said before the snapshot)\n"
_BOOT_S, _START_S, _MIGRATE_S = 240.0, 60.0, 120.0
_END_S = 5.0
_AGENT_PORTS = 16  # handshakes at the same time
Say = Callable[[str], None]


class LabFailed(VmError):
    """Xen or dom0 did not come up. Carries the logs' last lines."""

    def __init__(self, problem: str, hint: str = "floe lab xen up --fresh") -> None:
        super().__init__(problem, evidence=lab.evidence(), hint=hint)


@dataclass(frozen=True)
class Machine:
    """What decides whether a snapshot fits."""

    assets: Assets
    memory: int
    qemu: str  # path
    version: str

    @property
    def snapshot(self) -> Path:
        """Folder of its snapshot, with ram and state when it is there."""
        words = [self.version, _XEN_ARGS, _LINUX_ARGS, *self.command("", shared=False), *_wiring("", "")]
        return self.assets.folder / f"snapshot-{hashlib.sha256(shlex.join(words).encode()).hexdigest()[:16]}"

    def command(self, ram: str, *, shared: bool) -> list[str]:
        """QEMU's command line without what differs between two starts."""
        mib = _DOM0_MIB + _XEN_MIB + (self.memory >> 20)
        share = "on" if shared else "off"
        return [
            self.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S",
            "-accel", "tcg", "-cpu", _CPU, "-smp", "1", "-M", "pc,memory-backend=ram", "-m", f"{mib}M",
            "-object", f"memory-backend-file,id=ram,size={mib}M,mem-path={_escaped(ram)},share={share}",
            "-netdev", "user,id=n0,net=10.0.2.0/24", "-device", "virtio-net-pci,netdev=n0,romfile=",
        ]  # fmt: skip


def _wiring(com2: str, qmp: str) -> list[str]:
    """The serial ports and the monitor: the hypervisor's log, dom0's terminal, and descriptors of two sockets."""
    return [
        "-chardev", "file,id=com1,path=xen.log,append=on", "-serial", "chardev:com1",
        "-chardev", f"socket,id=com2,fd={com2},logfile=dom0.log", "-serial", "chardev:com2",
        "-chardev", f"socket,id=qmp,fd={qmp},server=on,wait=off", "-mon", "chardev=qmp,mode=control",
    ]  # fmt: skip


class Qemu:
    """A QEMU that was started: its monitor and dom0's terminal. Ended on close() unless keep() was called."""

    def __init__(self, machine: Machine, ram: Path, more: list[str], *, shared: bool, past: bytes = b"") -> None:
        """Starts it in the lab's folder. `past`: what the hypervisor's log begins with. Raises VmError."""
        folder = lab.folder()
        for name, content in (("xen.log", past), ("dom0.log", b""), ("qemu.log", b"")):
            (folder / name).write_bytes(content)
        listening, (ours, theirs) = _listen(folder), socket.socketpair()
        self.argv = [
            *machine.command(str(ram), shared=shared),
            *_wiring(str(theirs.fileno()), str(listening.fileno())),
            *more,
        ]
        self._com2 = ours
        self._said = b""
        with listening, theirs, (folder / "qemu.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(listening.fileno(), theirs.fileno()),
                start_new_session=True,
            )
        self._kept = False
        try:
            # Known before it is of use, so that the next `up` can end it if this one dies.
            (folder / "starting").write_bytes(msgspec.json.encode(_Started(_process(self.process.pid))))
            self.qmp = Qmp(_connect(folder), lab.evidence)
            self.qmp.greet(_START_S)
            self.qmp.execute("migrate-set-capabilities", capabilities=[
                {"capability": name, "state": True} for name in ("x-ignore-shared", "events")
            ])  # fmt: skip
        except OSError as e:
            self.close()
            raise LabFailed("QEMU does not start", "floe doctor") from e
        except BaseException:
            self.close()
            raise

    def migrate(self, command: str, uri: str) -> None:
        """Write or read the devices' state. Raises LabFailed."""
        self.qmp.execute(command, uri=uri)
        status = self.qmp.wait("MIGRATION", lambda data: data["status"] in ("completed", "failed"), _MIGRATE_S)
        if status["status"] == "failed":
            raise LabFailed(f"QEMU's {command} failed")

    def tell(self, line: str) -> None:
        """Type a line at dom0's terminal."""
        self._com2.sendall(line.encode() + b"\n")

    def expect(self, word: str, deadline_s: float) -> None:
        """Wait for dom0's line "lab: WORD". Raises LabFailed with what it said in its place."""
        ends = time.monotonic() + deadline_s
        while (match := re.search(rb"^lab: (failed: .*|%b)\r?\n" % word.encode(), self._said, re.MULTILINE)) is None:
            self._com2.settimeout(max(0.01, ends - time.monotonic()))
            try:
                data = self._com2.recv(1 << 16)
            except TimeoutError:
                raise LabFailed(f"dom0 did not say '{word}' within {deadline_s:g} s") from None
            except OSError:
                data = b""
            if not data:
                raise LabFailed("QEMU ended before dom0 was up")
            self._said += data
        if match[1] != word.encode():
            text = match[1].decode("utf-8", "replace").removeprefix("failed: ").strip()
            raise LabFailed(f"dom0 did not come up: {text}", _hint(text))

    def keep(self) -> None:
        """Let it run on after close()."""
        self._kept = True

    def close(self) -> None:
        """Close the connections; end it if it is not to be kept."""
        if not self._kept:
            self.process.kill()
            self.process.wait()
        if hasattr(self, "qmp"):
            self.qmp.close()
        self._com2.close()


def _hint(problem: str) -> str:
    if "cannot run guests" in problem:
        return "another QEMU: its emulation has to know AMD's virtualisation with nested paging (svm, npt); 7.2 does"
    return "floe lab xen up --fresh"


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


def up(say: Say, memory: int | None = None, *, fresh: bool = False, any_version: bool = False) -> lab.Record:
    """Start the lab, or find it up. Raises FloeError, VmError with the logs."""
    path = shutil.which(QEMU)
    if path is None:
        raise NotFound(f"{QEMU} is not here", hint="sudo apt-get install qemu-system-x86")
    with assets.locked(lab.folder() / "lock", say):
        record = lab.read_record()
        if record is not None and record.process.alive:
            if fresh or any_version or (memory is not None and memory != record.memory):
                raise FloeError("the Xen lab is up already", hint="floe lab xen down, then the same again")
            return record
        _clean()
        brought = assets.bring(say, any_version=any_version, fresh=fresh)
        machine = Machine(brought, memory or DEFAULT_MEMORY, path, _version(path))
        try:
            return _start(machine, say)
        except OSError as e:
            raise FloeError(f"cannot start the Xen lab: {e}", hint=f"df -h {lab.folder()}") from e


def _start(machine: Machine, say: Say) -> lab.Record:
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
            f"the Xen lab's files cannot lie in {files}: QEMU's -initrd takes no blank in a path", hint=hint
        )
    if _identity(machine) not in (None, bad):
        return False
    with assets.locked(files / "lock", say):
        if _identity(machine) not in (None, bad):
            return False
        shutil.rmtree(machine.snapshot, ignore_errors=True)
        assets.forget_old(files, "snapshot-*")
        packages.check_room(files, (_DOM0_MIB + _XEN_MIB + _STATE_MIB) << 20)  # guests' memory is a hole in the file
        _boot(machine, say)
    return True


def _boot(machine: Machine, say: Say) -> None:
    say("booting Xen and dom0 for the first time (some 10 s)")
    files = machine.assets.folder
    with assets.made(machine.snapshot) as scratch:
        modules = f"{_escaped(files / 'vmlinux')} {_LINUX_ARGS},{_escaped(files / 'dom0.cpio')}"
        boot = ["-kernel", str(files / "xen"), "-append", _XEN_ARGS, "-initrd", modules]
        qemu = Qemu(machine, scratch / "ram", boot, shared=True)
        with contextlib.closing(qemu):
            qemu.qmp.execute("cont")
            qemu.expect("ready", _BOOT_S)
            say("writing the snapshot")
            qemu.qmp.execute("stop")
            qemu.migrate("migrate", f"exec:cat >{shlex.quote(str(scratch / 'state'))}")
            qemu.qmp.execute("quit")
            (scratch / "boot.log").write_bytes((lab.folder() / "xen.log").read_bytes() + _PAST)
            with contextlib.suppress(subprocess.TimeoutExpired):
                qemu.process.wait(_END_S)


def _restore(machine: Machine, say: Say) -> lab.Record:
    say("starting Xen from its snapshot")
    folder = lab.folder()
    token = secrets.token_hex(32)
    with contextlib.ExitStack() as stack:
        with assets.locked(machine.assets.folder / "lock", say, shared=True):  # or a lab of another user's replaces it
            past = (machine.snapshot / "boot.log").read_bytes()
            os.utime(machine.snapshot)
            qemu = Qemu(machine, machine.snapshot / "ram", ["-incoming", "defer"], shared=False, past=past)
            stack.enter_context(contextlib.closing(qemu))
            qemu.migrate("migrate-incoming", f"exec:cat {shlex.quote(str(machine.snapshot / 'state'))}")
        for _ in range(_AGENT_PORTS):
            if said := qemu.qmp.human(f"hostfwd_add tcp:127.0.0.1:0-{lab.DOM0}:{lab.AGENT_PORT}"):
                raise LabFailed(f"QEMU does not forward a port to dom0: {said}")
        qemu.qmp.execute("cont")
        now = time.time()
        qemu.tell(f"{token} {int(now)} {int(now % 1 * 1e6)}")
        qemu.expect("up", _START_S)
        record = lab.Record(
            process=_process(qemu.process.pid),
            ports=_forwarded_ports(qemu.qmp.human("info usernet")),
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


def _process(pid: int) -> state.Process:
    process = state.Process.of(pid)
    if process is None:
        raise LabFailed("QEMU ended before the lab was up")
    return process


def _write(folder: Path, record: lab.Record) -> None:
    fd = os.open(folder / ".lab.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(msgspec.json.encode(record) + b"\n")
    os.replace(folder / ".lab.json", folder / "lab.json")
    (folder / "starting").unlink(missing_ok=True)


def _forwarded_ports(usernet: str) -> list[int]:
    """The host's ports in QEMU's table of forwards. Raises LabFailed."""
    row = rf"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+{re.escape(lab.DOM0)}\s"
    found = [int(port) for port in re.findall(row, usernet)]
    if len(found) != _AGENT_PORTS:
        raise LabFailed("QEMU does not say which ports it forwards to dom0")
    return found


def _version(qemu: str) -> str:
    """First line of what QEMU says of itself. Raises VmError when it cannot be run."""
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.splitlines()[0]
    except (OSError, subprocess.TimeoutExpired, IndexError) as e:
        raise VmError(f"{qemu} cannot be run: {e}", hint="floe doctor") from e


def _escaped(path: Path | str) -> str:
    return str(path).replace(",", ",,")


# ---- down ---------------------------------------------------------------------------------------


def down(say: Say, grace_s: float = 5.0) -> bool:
    """End the lab: guests are told to shut down and get grace_s for it. False: it was not up."""
    with assets.locked(lab.folder() / "lock", say):
        record = lab.read_record()
        up = record is not None and record.process.alive
        if record is not None and up:
            _shut_down(record, say, grace_s)
            with contextlib.suppress(FloeError), lab.qmp() as monitor:
                monitor.execute("quit")
            _end(record.process)
        _clean()
        return up


def _shut_down(record: lab.Record, say: Say, grace_s: float) -> None:
    script = (
        "[ $(xl list | wc -l) -gt 2 ] || exit 0; echo guests; "
        f"timeout {max(1, round(grace_s))} xl shutdown -a -w >/dev/null 2>&1"
    )
    with contextlib.suppress(FloeError, OSError), lab.connect_to(record, script, 3.0) as sock:
        sock.settimeout(grace_s + 2)
        while data := sock.recv(4096):
            if b"guests" in data:
                say("shutting guests down")


def _end(process: state.Process) -> None:
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


def _clean() -> None:
    """Remove what a lab that ended has left, and end one that never came up. The logs stay."""
    folder = lab.folder()
    for name in ("starting", "lab.json"):
        process = _process_in(folder / name)
        if process is not None and process.alive:
            process.signal(signal.SIGKILL)
            _end(process)
    for name in ("lab.json", "starting", "qmp"):
        (folder / name).unlink(missing_ok=True)
    for name in ("addresses", "forwards", "agents", "disks"):
        shutil.rmtree(folder / name, ignore_errors=True)


class _Started(msgspec.Struct):
    """What every version of floe writes down about a QEMU."""

    process: state.Process


def _process_in(path: Path) -> state.Process | None:
    """The process that a record names, also one that another version of floe wrote."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Started).process
    except (OSError, msgspec.DecodeError):
        return None
