# SPDX-License-Identifier: MIT
"""What the verbs do with a detached VM that launch.py started: ask it, end it, tell its state.

From Python: `control.endpoints("NAME")` says where the console of a running VM is: `.pty` and, with --console-port,
`.url`, for pyserial and mpremote; `.unix`, and `.port` or 0.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from floe.detached import requests
from floe.detached.launch import kill, start_keeper
from floe.errors import FloeError, NotFound, VmError
from floe.store import vmfolder
from floe.store.records import End, Endpoints, Names, Spec
from floe.store.vmfolder import Folder, Process
from floe.stream import inotify

_ANSWER_S = 10.0
_BRIEFLY_S = 0.02
_SNAPSHOT_S = 600.0  # large disks take their time
_T = TypeVar("_T")
_LOOK_S = 0.25  # how often a keeper that is starting is looked for, should it die meanwhile


@dataclass(frozen=True)
class Status:
    """What `floe ps` shows. state: running, waiting (to be claimed: pools.py), restarting (it has ended, and is to be
    started again), ended (the guest or floe ended it), crashed (all else)."""

    folder: Folder
    spec: Spec
    state: str
    pid: int | None = None
    endpoints: Endpoints | None = None
    end: End | None = None
    client: str | None = None
    dropped: int = 0
    resets: int = 0
    restarts: int = 0
    began: float = 0.0  # time.time() of the guest's last start, 0 where nobody knows
    parent: str | None = None  # of a child of a VM that forks
    addresses: tuple[tuple[str, str], ...] = ()  # of such a one: which it has in place of which of the first VM's
    host: str = ""  # where that child runs, "" for here
    children: tuple[Status, ...] = ()  # all of a VM's family, in the order of their births

    @property
    def alive(self) -> bool:
        """Whether it runs, or will without anybody's doing."""
        return self.end is None

    @property
    def uptime(self) -> float:
        """Seconds since the last start, to the end if it has ended."""
        return max(0.0, (self.end.at if self.end else time.time()) - (self.began or self.spec.created))

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        running = self.endpoints if self.alive else None
        return {
            "name": self.spec.name,
            "parent": self.parent,
            "host": self.host or None,
            "state": self.state,
            "app": self.spec.app,
            "profile": self.spec.profile,
            "pid": self.pid,
            "pty": running.pty if running else None,
            "socket": running.url if running else None,
            "unix": running.unix if running else None,
            "ports": self.spec.ports,
            "memory": self.spec.memory,
            "accel": self.spec.accel,
            "machine": self.spec.machine,
            "hypervisor": self.spec.hypervisor,
            "created": self.spec.created,
            "uptime": round(self.uptime, 3),
            "resets": self.resets,
            "restart": self.spec.restart,
            "restarts": self.restarts,
            "client": self.client,
            "dropped": self.dropped,
            "exit_code": self.end.code if self.end else None,
            "cause": self.end.cause if self.end else None,
            "problem": self.end.problem if self.end else None,
            "folder": str(self.folder.path),
        }


def ask(folder: Folder, request: dict[str, Any], *, timeout_s: float = _ANSWER_S) -> dict[str, Any] | None:
    """The keeper's answer; None when there is no keeper, or it left without one. Raises VmError when it hangs, or says
    what is none."""
    try:
        with _connect(folder, timeout_s) as s:
            s.sendall(vmfolder.dump(request).encode() + b"\n")
            said = b""
            while not said.endswith(b"\n"):
                data = s.recv(1 << 16)
                if not data:
                    return None
                said += data
    except TimeoutError as e:
        raise VmError(f"the keeper of {folder.name} does not answer", hint=f"floe rm --force {folder.name}") from e
    except OSError:
        return None
    try:
        return msgspec.json.decode(said, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise _not_understood(folder, e) from e


def _not_understood(folder: Folder, why: Exception) -> VmError:
    hint = f"its keeper may be another floe's: floe stop and floe start {folder.name}"
    return VmError(f"the keeper of {folder.name} answers what floe does not understand: {why}", hint=hint)


def _understood(folder: Folder, answer: dict[str, Any], kind: type[_T]) -> _T:
    """An answer as what it should be. Raises VmError."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as e:
        raise _not_understood(folder, e) from e


def _connect(folder: Folder, timeout_s: float) -> socket.socket:
    """Connect to the keeper, which may be just starting. Raises OSError, TimeoutError."""
    deadline = time.monotonic() + timeout_s
    path = Path(folder.spec.sockets) / Names.CONTROL
    watch = inotify.Watch(str(path.parent), inotify.MOVED_TO)
    try:
        while True:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(timeout_s)
            try:
                s.connect(str(path))
                return s
            except OSError:
                s.close()
                left = deadline - time.monotonic()
                if folder.keeper is None or left <= 0:
                    raise
                select.select([watch.fd], [], [], min(left, _LOOK_S))
                watch.happened()
    finally:
        watch.close()


def status(folder: Folder) -> Status:
    """What state a VM is in; one whose keeper died gets a new one. Raises FloeError."""
    spec = folder.spec
    deadline = time.monotonic() + _ANSWER_S
    while True:
        told = _told(folder)
        process = folder.vm
        if told is not None and told.end is None and (process is not None or told.restarting):
            return _running(folder, spec, told, process)
        late = time.monotonic() > deadline
        if folder.end is not None or (process is None and (late or folder.keeper is None) and not folder.due):
            return _ended(folder, spec)
        if late:
            raise VmError(f"{folder.name} runs, and no keeper for it answers", hint=f"floe rm --force {folder.name}")
        if folder.keeper is None:
            with contextlib.suppress(VmError):  # of a VM that has just ended, for one
                start_keeper(folder, adopt=True)
        # Another one's keeper may be starting, or ours has not written down yet how the VM has ended.
        select.select([], [], [], _BRIEFLY_S)


def _told(folder: Folder) -> requests.Told | None:
    answer = ask(folder, {"do": "status"}) if folder.keeper else None
    return None if answer is None else _understood(folder, answer, requests.Told)


def _running(folder: Folder, spec: Spec, told: requests.Told, process: Process | None) -> Status:
    return Status(
        folder,
        spec,
        "restarting" if told.restarting else "waiting" if told.waiting else "running",
        pid=process.pid if process and not told.restarting else None,
        endpoints=Endpoints(pty=told.pty, port=told.port, unix=told.unix),
        client=told.client,
        dropped=told.dropped,
        resets=told.resets,
        restarts=told.restarts,
        began=told.began,
        children=tuple(_child(folder, spec, child) for child in told.children),
    )


def _child(folder: Folder, spec: Spec, told: requests.Child) -> Status:
    own = msgspec.structs.replace(spec, name=told.name, ports=told.ports, created=told.began, restart="no")
    child = Status(folder, own, "running", pid=told.pid, began=told.began, parent=told.parent)
    return replace(child, addresses=told.addresses, host=told.host)


def tree(first: Status) -> list[tuple[int, Status]]:
    """A VM and its family: each behind the one that begot it, and how deep it stands."""

    def below(status: Status, depth: int) -> Iterator[tuple[int, Status]]:
        yield depth, status
        for child in first.children:
            if child.parent == status.spec.name:
                yield from below(child, depth + 1)

    return list(below(first, 0))


def find(name: str) -> tuple[Folder, str | None]:
    """The VM of this name; of a child's name, NAME.1, the first one of its family, and the name. Raises NotFound."""
    first, dot, number = name.rpartition(".")
    if dot and number.isdecimal() and not (vmfolder.root() / name).exists():
        with contextlib.suppress(NotFound):
            return vmfolder.find(first), name
    return vmfolder.find(name), None


def _ended(folder: Folder, spec: Spec) -> Status:
    from floe.vm.outcome import judge

    end = folder.end
    if end is None:  # its keeper did not see it
        code = folder.exit_status
        outcome = judge(code, "host-signal") if code is not None else None
        at = folder.last_sign
        if outcome is not None:
            end = End(code=outcome.code, cause=outcome.cause, at=at)
        else:
            end = End(
                code=None, cause="unknown", at=at, problem="it ended while nobody watched, or the host was restarted"
            )
    life = folder.life
    state = "crashed" if end.code is None else "ended"
    return Status(folder, spec, state, end=end, restarts=life.restarts, began=life.began)


def stop(folder: Folder, grace_s: float) -> Status:
    """End a running VM: ask it first, kill it after grace_s. Of one that has ended: how."""
    now = status(folder)
    if now.alive:
        ask(folder, {"do": "stop", "timeout": grace_s}, timeout_s=grace_s + _ANSWER_S)
        now = status(folder)
    return now


def stop_child(folder: Folder, name: str, grace_s: float) -> int:
    """End one child, and return how it ended, as waitpid() has it. Raises NotFound."""
    answer = ask(folder, {"do": "stop", "child": name, "timeout": grace_s}, timeout_s=grace_s + _ANSWER_S)
    ended = None if answer is None else _understood(folder, answer, requests.Done).status
    if ended is None:
        running = ", ".join(child.spec.name for child in status(folder).children)
        raise NotFound(f"no child {name} runs", evidence=f"there are: {running}" if running else "", hint="floe ps")
    return ended


def child_runs(folder: Folder, name: str) -> bool:
    """Whether this child of a VM's is there. Raises VmError when its keeper hangs."""
    told = _told(folder)
    return told is not None and any(child.name == name for child in told.children)


def remove_child(folder: Folder, name: str, *, force: bool) -> None:
    """Of a child nothing is left to forget but a running one, which `force` ends. Raises FloeError."""
    if force:
        stop_child(folder, name, 0)
        return
    if child_runs(folder, name):
        raise FloeError(f"{name} is running", hint=f"floe stop {name}, or floe rm --force {name}")
    raise NotFound(f"no child {name} runs, and what it said goes with {folder.name}", hint=f"floe rm {folder.name}")


def snapshot(folder: Folder, path: Path) -> int:
    """Keep a running VM's state in a file; how many bytes of disk that takes. Raises FloeError."""
    if not status(folder).alive:
        raise FloeError(f"{folder.name} has ended", hint=f"floe start {folder.name}")
    try:
        answer = ask(folder, {"do": "snapshot", "file": str(path.absolute())}, timeout_s=_SNAPSHOT_S)
    except VmError:
        status(folder)  # raises it too where the keeper hangs, and not only what it does
        raise VmError(
            f"a snapshot of {folder.name} was not made within {_SNAPSHOT_S:g} s",
            hint="a file system that takes it faster",
        ) from None
    if answer is None:
        raise VmError(f"{folder.name} ended meanwhile", hint=f"floe logs {folder.name}")
    done = _understood(folder, answer, requests.Done)
    if done.error is not None:
        raise FloeError(done.error, evidence=done.evidence or "", hint=done.hint or "")
    return done.size


def profile(folder: Folder, seconds: float, rate: float, *, exits: bool = False) -> dict[str, Any] | None:
    """What a running VM did so long (sampling.py), sampled so many times a second; None once it has ended. Raises
    FloeError."""
    request = {"do": "profile", "timeout": seconds, "rate": rate, "exits": exits}
    answer = ask(folder, request, timeout_s=seconds + _ANSWER_S)
    if answer is None:
        return None
    done = _understood(folder, answer, requests.Done)
    if done.error is not None:
        if not status(folder).alive:
            return None
        old = "floe stop and floe start it: its keeper is an older floe's" if done.evidence is None else ""
        raise FloeError(done.error, evidence=done.evidence or "", hint=old if done.hint is None else done.hint)
    return answer


def trace(folder: Folder, seconds: float, rate: float) -> Generator[dict[str, Any], None, None]:
    """What its keeper tells of a running VM meanwhile (tracing.py), as it comes, and nothing of one that has ended;
    closing it ends that. Raises FloeError."""
    try:
        with _connect(folder, _ANSWER_S) as s, s.makefile("rw", encoding="utf-8") as stream:
            stream.write(vmfolder.dump({"do": "trace", "timeout": seconds, "rate": rate}) + "\n")
            stream.flush()
            for line in stream:
                if not line.endswith("\n"):
                    return  # it ended in the midst of it
                told = msgspec.json.decode(line, type=dict[str, Any])
                done = _understood(folder, told, requests.Done)
                if done.error is not None:
                    old = "floe stop and floe start it: its keeper is an older floe's" if done.evidence is None else ""
                    raise FloeError(done.error, evidence=done.evidence or "", hint=done.hint or old)
                yield told
    except TimeoutError as e:
        raise VmError(f"the keeper of {folder.name} does not answer", hint=f"floe rm --force {folder.name}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise _not_understood(folder, e) from e
    except OSError:  # it ended, with the VM
        return


def remove(folder: Folder, *, force: bool) -> None:
    """Forget a VM. Raises FloeError for a running one, unless `force` ends it first."""
    if folder.vm is not None or folder.keeper is not None:
        if not force and (folder.vm is not None or status(folder).alive):
            raise FloeError(
                f"{folder.name} is running", hint=f"floe stop {folder.name}, or floe rm --force {folder.name}"
            )
        try:
            stop(folder, 0)
        except FloeError:
            kill(folder)
    folder.remove()


def endpoints(name: str) -> Endpoints:
    """Where clients find the console of a running VM. Raises NotFound, and FloeError for one that has ended."""
    now = status(vmfolder.find(name))
    if now.endpoints is None:
        raise FloeError(f"{name} has ended", hint=f"floe logs {name}")
    return now.endpoints
