# SPDX-License-Identifier: MIT
"""Where detached VMs are written down: one folder per VM under $XDG_STATE_HOME/floe/vms. Starts and ends nothing.

records.Names lists what lies in one. Documents (spec.json and its like) are replaced as a whole; records have their
room from the start, because a full disk must not hide how a VM ended. README of tools/ says more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from floe.errors import FloeError, NotFound, UsageError
from floe.spec.vmspec import VmSpec
from floe.store.records import End, Endpoints, Life, Names, Spec

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SOCKET_PATH_MAX = 107  # sun_path of unix(7), less the byte at its end
_RECORD_BYTES = 512
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Process(msgspec.Struct, frozen=True):
    """A process that is not taken for another one with the same number: when it started, and in which boot."""

    pid: int
    start: int  # clock ticks since boot, field 22 of /proc/PID/stat
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now; None without one, and for one that has ended."""
        try:
            state, found = cls._read(pid)
        except (OSError, IndexError, ValueError):
            return None
        return None if state in "ZX" else found

    @classmethod
    def of_child(cls, pid: int) -> Process:
        """A child of ours that was not waited for, whether it has ended or not."""
        return cls._read(pid)[1]

    @classmethod
    def _read(cls, pid: int) -> tuple[str, Process]:
        """Its state (proc(5)), and what tells it from others."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return fields[0], cls(pid, int(fields[19]), _BOOT_ID.read_text().strip())

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Process.of(self.pid) == self

    def wait_gone(self, seconds: float) -> bool:
        """Wait for its end, as long as that. False: it runs still."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return True
        try:
            return not self.alive or bool(select.select([fd], [], [], seconds)[0])
        finally:
            os.close(fd)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal, never to another process. False: it is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(fd, number)
            return True
        except OSError:
            return False
        finally:
            os.close(fd)


_T = TypeVar("_T", Spec, Endpoints, End, Life, Process)


def root() -> Path:
    """The folder of all VMs' folders; $XDG_STATE_HOME is $HOME/.local/state if not set."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state") / "floe" / "vms"


class Folder:
    """One VM's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._making: int | None = None  # of who makes it: a descriptor, locked until there is a spec

    # ---- files --------------------------------------------------------------------------------------

    @property
    def image(self) -> Path:
        """The ELF that it was started from."""
        return self.path / Names.IMAGE

    @property
    def console_log(self) -> Path:
        """What the guest said on its console."""
        return self.path / Names.CONSOLE_LOG

    @property
    def program(self) -> Path:
        """The parent's program."""
        return self.path / Names.PROGRAM

    @property
    def serial_log(self) -> Path:
        """What the guest said on its 16550."""
        return self.path / Names.SERIAL_LOG

    @property
    def hypervisor_log(self) -> Path:
        """What the hypervisor said."""
        return self.path / Names.HYPERVISOR_LOG

    @property
    def keeper_log(self) -> Path:
        """What went wrong in the keeper."""
        return self.path / Names.KEEPER_LOG

    @property
    def lock(self) -> Path:
        """Held by the keeper."""
        return self.path / Names.LOCK

    # ---- documents: reading gives None where there is none that makes sense, writing raises OSError --

    @property
    def spec(self) -> Spec:
        """What was asked for. Raises FloeError: NotFound, where another process is just making the VM."""
        spec = self._read(Names.SPEC, Spec)
        if spec is None and self._is_being_made():
            raise NotFound(f"{self.name} is just being made", hint="again in a moment")
        if spec is None:
            raise FloeError(f"{self.path / Names.SPEC} is missing or damaged", hint=f"floe rm {self.name}")
        return spec

    @spec.setter
    def spec(self, spec: Spec) -> None:
        self._write(Names.SPEC, spec)
        self._made()

    def begin(self) -> None:
        """It is ours to make. Raises OSError."""
        self._making = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a file system without such locks
            fcntl.flock(self._making, fcntl.LOCK_EX)

    def _made(self) -> None:
        if self._making is not None:
            os.close(self._making)
            self._making = None

    def _is_being_made(self) -> bool:
        """Whether it has no spec yet, and its maker, who is another, lives."""
        if self._making is not None or (self.path / Names.SPEC).exists():
            return False
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(fd)
        return (self.path / Names.SPEC).exists()  # written just now

    @property
    def plan(self) -> VmSpec | None:
        """All that a start takes: --env's values with it, of secrets and env files the paths."""
        try:
            content = (self.path / Names.PLAN).read_bytes()
            return msgspec.json.decode(content, type=VmSpec, dec_hook=lambda kind, text: kind(text))
        except (OSError, msgspec.DecodeError, TypeError):
            return None

    @plan.setter
    def plan(self, plan: VmSpec) -> None:
        self._write(Names.PLAN, plan)

    @property
    def parent(self) -> Process | None:
        """The process that starts the hypervisor, and starts it again; it may be gone."""
        return self._read(Names.PARENT, Process)

    @parent.setter
    def parent(self, process: Process) -> None:
        try:
            self._write(Names.PARENT, process)
        except OSError:  # a full disk has room for what takes the place of another: of the parent before a restart
            self._record(Names.PARENT, msgspec.json.encode(process))

    @property
    def keeper(self) -> Process | None:
        """The keeper's process; None when it is gone."""
        process = self._read(Names.KEEPER, Process)
        return process if process and process.alive else None

    @keeper.setter
    def keeper(self, process: Process) -> None:
        self._write(Names.KEEPER, process)

    @property
    def endpoints(self) -> Endpoints | None:
        """Where clients found the console last."""
        return self._read(Names.ENDPOINTS, Endpoints)

    @endpoints.setter
    def endpoints(self, endpoints: Endpoints) -> None:
        self._write(Names.ENDPOINTS, endpoints)

    def _read(self, name: str, kind: type[_T]) -> _T | None:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self, name: str, content: msgspec.Struct | VmSpec) -> None:
        """Replace it as a whole."""
        fd, new = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(msgspec.json.encode(content, enc_hook=_as_text) + b"\n")
            os.replace(new, self.path / name)
        except BaseException:
            os.unlink(new)
            raise

    # ---- records: None stands for one that is empty ---------------------------------------------------

    @property
    def end(self) -> End | None:
        """How the VM ended, once a keeper has seen it."""
        return self._read(Names.END, End)

    @end.setter
    def end(self, end: End | None) -> None:
        # What a hypervisor says may be long: cut, it is still to be read.
        while end is not None and len(msgspec.json.encode(end)) > _RECORD_BYTES:
            end = msgspec.structs.replace(end, problem=end.problem[: len(end.problem) * 3 // 4])
        self._record(Names.END, b"" if end is None else msgspec.json.encode(end))

    @property
    def life(self) -> Life:
        """Restarts so far."""
        return self._read(Names.LIFE, Life) or Life()

    @life.setter
    def life(self, life: Life) -> None:
        self._record(Names.LIFE, msgspec.json.encode(life))

    @property
    def exit_status(self) -> int | None:
        """The hypervisor's, as of subprocess."""
        return self._number(Names.EXIT)

    @exit_status.setter
    def exit_status(self, status: int | None) -> None:
        self._record(Names.EXIT, b"" if status is None else str(status).encode())

    @property
    def pid(self) -> int | None:
        """The hypervisor's number, which may be another process's by now: see `vm`."""
        return self._number(Names.PID)

    @pid.setter
    def pid(self, pid: int | None) -> None:
        self._record(Names.PID, b"" if pid is None else str(pid).encode())

    def _number(self, name: str) -> int | None:
        try:
            return int((self.path / name).read_text())
        except (OSError, ValueError):
            return None

    def _record(self, name: str, data: bytes) -> None:
        """Write it in place, over what it held."""
        fd = os.open(self.path / name, os.O_WRONLY)
        try:
            os.pwrite(fd, data.ljust(_RECORD_BYTES), 0)
        finally:
            os.close(fd)

    def blank(self) -> None:
        """Records that hold nothing, and have their room. Raises OSError."""
        for name in Names.RECORDS:
            if (self.path / name).exists():
                self._record(name, b"")
            else:
                (self.path / name).write_bytes(b" " * _RECORD_BYTES)

    # ---- the VM ---------------------------------------------------------------------------------------

    @property
    def vm(self) -> Process | None:
        """The hypervisor's process, or while it is started again its parent's; None when the VM is gone."""
        pid = self.pid
        own = Process.of(pid) if pid else None
        parent = self.parent
        if parent is None or not parent.alive:
            # The number may be another's by now: ours started after its parent, in the same boot, and holds our image.
            return own if own and parent and own.boot == parent.boot and self._is_ours(own) else None
        return own or parent

    @property
    def over(self) -> bool:
        """Whether it has ended, and nobody is there who might start it again."""
        return self.end is not None or (self.vm is None and self.keeper is None)

    @property
    def due(self) -> bool:
        """Whether it is to be started again, and whoever was to do so is gone. Not after the host was restarted."""
        if self.end is not None or self.vm is not None or not self.spec.policy.ever:
            return False
        own, parent = Process.of(os.getpid()), self.parent
        return own is not None and parent is not None and parent.boot == own.boot

    def _is_ours(self, process: Process) -> bool:
        try:
            return os.fsencode(self.path) in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except OSError:
            return False

    @property
    def last_sign(self) -> float:
        """When something was written here last, which is the latest that is known of a VM whose end nobody saw. Raises
        NotFound where somebody has removed it meanwhile."""
        times = [0.0]
        try:
            for path in self.path.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    times.append(path.stat().st_mtime)
        except FileNotFoundError:
            raise NotFound(f"there is no VM {self.name} any more") from None
        return max(times)

    def remove(self) -> None:
        """Remove the folder and all in it. The VM must be gone."""
        self._made()
        spec = self._read(Names.SPEC, Spec)
        if spec is not None and Path(spec.sockets) != self.path:
            shutil.rmtree(spec.sockets, ignore_errors=True)
        # Its name is free at once, and what is half removed is no VM.
        gone = self.path.with_name(f".{self.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):  # somebody else removes it at the same time
            os.rename(self.path, gone)
            shutil.rmtree(gone, ignore_errors=True)


def _as_text(value: object) -> str:
    """A Path, of which a VmSpec has several, in JSON."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")


def check_name(name: str) -> None:
    """Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name {name}: not a name of a VM",
            hint="letters, digits, '-', '_' and '.', at most 63, a letter or digit first",
        )


def create(name: str | None, base: str) -> Folder:
    """A new folder: under `name`, or under one made from `base` that is free. Raises UsageError, FloeError."""
    if name is not None:
        check_name(name)
    stem = re.sub(r"[^A-Za-z0-9_.-]", "-", base).lstrip("-_.")[:50] or "vm"
    folder = root()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(1, 10000):
            wanted = name or (stem if number == 1 else f"{stem}-{number}")
            try:
                (folder / wanted).mkdir(mode=0o700)
            except FileExistsError:
                if name is None:
                    continue
                taken = Folder(folder / name)
                if taken._is_being_made():
                    raise FloeError(
                        f"--name {name}: a VM of that name is just being made", hint="another name"
                    ) from None
                how = "there is a running VM" if taken.vm else "there is a VM that has ended"
                free = f"floe stop {name} && floe rm {name}" if taken.vm else f"floe rm {name}"
                raise FloeError(f"--name {name}: {how} of that name", hint=f"another name, or: {free}") from None
            made = Folder(folder / wanted)
            try:
                made.begin()
                made.blank()
            except OSError:
                made.remove()
                raise
            return made
    except OSError as e:
        raise FloeError(f"cannot write {folder}: {e.strerror}", hint="set XDG_STATE_HOME to a folder of yours") from e
    raise FloeError(f"no free name like {stem}", hint="floe ps --all")


def sockets_folder(folder: Folder) -> str:
    """Where the VM's sockets go: its own folder, or where unix(7) needs it a shorter path. Raises FloeError."""
    if len(os.fsencode(folder.path / Names.LONGEST_SOCKET)) <= _SOCKET_PATH_MAX:
        return str(folder.path)
    return short_folder()


def short_folder() -> str:
    """A new folder whose path leaves room for the names of sockets. Raises FloeError."""
    try:
        base = os.environ.get("XDG_RUNTIME_DIR", "")
        if base and len(base) < _SOCKET_PATH_MAX - 40 and os.access(base, os.W_OK):
            return tempfile.mkdtemp(prefix="floe-", dir=base)
        return tempfile.mkdtemp(prefix="floe-", dir="/tmp")
    except OSError as e:
        raise FloeError(f"cannot make a folder for sockets: {e.strerror}") from e


def find(name: str) -> Folder:
    """The VM of this name. Raises NotFound."""
    folder = Folder(root() / name)
    if not _NAME.fullmatch(name) or not folder.path.is_dir():
        known = ", ".join(f.name for f in everything())
        raise NotFound(
            f"there is no VM {name}",
            evidence=f"there are: {known}" if known else "",
            hint="floe ps --all" if known else "floe run --detach --name NAME APP",
        )
    return folder


def everything() -> Iterator[Folder]:
    """All VMs, by name."""
    try:
        paths = sorted(root().iterdir())
    except OSError:
        return
    yield from (Folder(path) for path in paths if _NAME.fullmatch(path.name) and path.is_dir())


def dump(content: dict[str, Any]) -> str:
    """One line of JSON for a record."""
    return json.dumps(content, separators=(",", ":"))
