# SPDX-License-Identifier: MIT
"""The keeper of one detached VM: `python -m floe.detached.keeper FOLDER --ready FD [--adopt]`, started by control.py.

It belongs to no terminal, joins the VM's console with its endpoints and logs, answers requests on the socket `ctl`,
and writes down how the VM ended. When it is killed the VM lives on, and the next floe that looks starts another one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from floe.detached import kin, refused, requests
from floe.detached.endpoints import Listener, Pty, tcp_socket, unix_socket
from floe.detached.hub import Hub
from floe.detached.requests import Request
from floe.detached.vmprocess import VmProcess
from floe.errors import FloeError, UsageError, VmError
from floe.hostnet.relay import Relay, through_qemu
from floe.spec import restart
from floe.store.records import FAMILY_PLACE, End, Endpoints, Names
from floe.store.vmfolder import Folder, Process, dump
from floe.stream.keys import stop_keys
from floe.stream.logfile import BoundedLog

if TYPE_CHECKING:
    from floe.detached.sampling import Sampler
    from floe.detached.tracing import Tracer
    from floe.detached.usage import Guest

_FLUSH_S = 2.0  # what the last client may take for the guest's last words
_UP_S = 120.0  # from the hypervisor's start to the guest's, on a busy machine
_BEAT_S = 10.0  # how exact the end of a VM is known that ended together with all that watched it
_LINE = 1 << 16  # longest request
_GAP = "the keeper of this VM was gone: what the guest said meanwhile is missing here"

_ORPHANED = "the keeper of this VM was gone, and its children have ended with it"


class Keeper:
    """Serves one VM until it has ended."""

    def __init__(self, folder: Folder, loop: asyncio.AbstractEventLoop) -> None:
        self._folder = folder
        self._loop = loop
        self._spec = folder.spec
        self._log = BoundedLog(folder.console_log)
        self._serial = BoundedLog(folder.serial_log)
        self._hub = Hub(folder.name, loop, self._log, repl=self._spec.profile == "dev")
        self._life = folder.life
        self._resets = 0  # of starts that are over
        self._handed: Sequence[int] = ()  # descriptors for further starts
        self._last: End | None = None  # of the start before, while the next one is waited for
        self._since = self._life.began if folder.pid is not None else 0.0  # when the guest started; 0: not yet
        self._up = asyncio.Event()
        self._process = self._make_process()
        self._kin: kin.Kin | None = None  # of a VM that forks
        self._over = asyncio.Event()
        self._end: End | None = None
        self._listeners: list[Listener] = []
        self._endpoints: Endpoints | None = None
        self._pty: Pty | None = None
        self._relay: Relay | None = None
        self._stopping = False
        self._restarting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[object]] = set()  # answers on their way
        self._sampler: Sampler | None = None  # the same, for a profile
        self._tracer: Tracer | None = None  # and for a trace
        self._guest: Guest | None = None  # once somebody asks for what it uses

    async def run(self, ready_fd: int, *, adopt: bool, inherited: Sequence[int] = ()) -> None:
        """Start or find the VM, say so, and serve it until it has ended."""
        for number in (signal.SIGTERM, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self.stop, 5.0)
        ctl = self._socket(Names.CONTROL)
        control = await asyncio.start_unix_server(self._serve, f"{ctl}.new", limit=_LINE)
        os.rename(f"{ctl}.new", ctl)  # who waits for it to be there finds it listening
        try:
            if adopt:
                self._log.note(_GAP)
                if FAMILY_PLACE in self._spec.parts:
                    self._log.note(_ORPHANED)
            self._handed = inherited
            self._found_family()
            self._process.adopt() if adopt else self._process.start(inherited)
            if adopt and self._life.waiting:
                self._log.note("it waited, and nobody can claim it any more")
                self._process.kill()
            if not self._spec.policy.ever and self._spec.snapshot < 0:  # whose disks are these, for its children too
                self._let_go()
            refused.listen(self._folder, self._log.note, self._loop)
            self._open_endpoints()
            self._carry_ports(adopt=adopt)
            os.chdir("/")
            self._beat()
            if not adopt and not await self._wait_up():
                raise VmError(f"the guest did not start within {_UP_S:g} s", hint="floe doctor")
            if self._end is not None and self._end.code is None:
                raise self._process.failure(self._end)
        except FloeError as e:
            if not adopt:  # what lives already is not ours to end
                self._process.kill()
            _answer(ready_fd, {"error": e.message, "evidence": e.evidence, "hint": e.hint})
            return
        else:
            _answer(ready_fd, {})
        await self._over.wait()
        await self._hub.flush(_FLUSH_S)
        if self._serving:
            await asyncio.wait(self._serving, timeout=_FLUSH_S)
        control.close()
        self._close_endpoints()

    def _make_process(self) -> VmProcess:
        process = VmProcess(self._folder, self._spec, self._loop)
        process.on_console = self._hub.connect
        process.on_serial = self._serial.write
        process.on_end = self._ended
        process.on_up = self._started
        return process

    def _found_family(self) -> None:
        self._kin = kin.of(self._folder, self._process, self._handed, (self._log, self._serial), self._loop)
        if self._kin is not None and self._spec.pool:
            self._kin.waits, self._kin.on_waiting = True, self._waits

    def _waits(self) -> None:
        """The guest is a machine of its own, and its script stands until somebody claims it."""
        self._set_life(waiting=True)
        self._up.set()

    def _started(self) -> None:
        """The guest runs."""
        if not self._spec.pool:
            self._up.set()
        self._last = None
        self._since = time.time()
        self._set_life(began=self._since)

    def _set_life(self, **changes: float) -> None:
        self._life = msgspec.structs.replace(self._life, **changes)
        with contextlib.suppress(OSError):  # a folder of an older floe's has no such record
            self._folder.life = self._life

    def _let_go(self) -> None:
        for fd in self._handed:
            os.close(fd)
        self._handed = ()

    async def _wait_up(self) -> bool:
        """Wait until the guest runs or has ended. False: neither."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._up, self._over)]
        done, _ = await asyncio.wait(waits, timeout=_UP_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return bool(done)

    def _beat(self) -> None:
        """Leave a trace of time, for whoever finds us and the VM dead (state.Folder.last_sign)."""
        with contextlib.suppress(OSError):
            os.utime(self._folder.lock)
        self._loop.call_later(_BEAT_S, self._beat)

    # ---- endpoints ----------------------------------------------------------------------------------

    def _socket(self, name: str) -> str:
        path = Path(self._spec.sockets) / name
        path.unlink(missing_ok=True)
        return str(path)

    def _open_endpoints(self) -> None:
        """Raises VmError."""
        unix = Path(self._spec.sockets) / Names.CONSOLE
        port = 0
        try:
            self._pty = Pty(self._hub, self._loop)
            self._hub.on_free = self._pty.console_is_free
            self._listeners.append(Listener(unix_socket(unix), self._hub, self._loop))
            if self._spec.console_port is not None:
                tcp = self._tcp(self._spec.console_port)
                port = int(tcp.getsockname()[1])
                self._listeners.append(Listener(tcp, self._hub, self._loop))
        except OSError as e:
            raise VmError(f"cannot open the endpoints of {self._folder.name}: {e.strerror}") from e
        self._pty.on_moved = lambda: self._tell_endpoints(port, unix)
        self._tell_endpoints(port, unix)

    def _carry_ports(self, *, adopt: bool) -> None:
        """Raises FloeError; for a VM that lives already the port is lost."""
        try:
            self._relay = through_qemu(self._spec.forwards, self._family_at)
        except FloeError as e:
            if not adopt:
                raise
            print(e.message, file=sys.stderr)

    def _family_at(self, guest_port: int) -> Sequence[tuple[str, int]]:
        """Where the others of the family have a TCP port of the guest's; for any thread."""
        return self._kin.reached_at(guest_port) if self._kin is not None else ()

    def _tcp(self, wanted: int) -> socket.socket:
        """For a VM that has had its port before, the same one if it is free still. Raises OSError, VmError."""
        before = self._folder.endpoints
        sock = tcp_socket(before.port if before else wanted)
        if wanted and before is None and sock.getsockname()[1] != wanted:
            sock.close()
            raise VmError(f"--console-port {wanted}: port {wanted} is in use", hint="another one, or 0 for any")
        return sock

    def _tell_endpoints(self, port: int, unix: Path) -> None:
        assert self._pty is not None
        self._endpoints = Endpoints(pty=self._pty.path, port=port, unix=str(unix))
        try:
            self._folder.endpoints = self._endpoints
        except OSError as e:
            print(f"cannot write down the endpoints: {e}", file=sys.stderr)  # a request still tells them

    def _close_endpoints(self) -> None:
        for listener in self._listeners:
            listener.close()
        if self._pty is not None:
            self._pty.close()
        if self._relay is not None:
            self._relay.close()

    # ---- requests -----------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            request = requests.read(await reader.readline())
            if request.do == "trace":
                await self._trace(request, reader, writer)
            else:
                writer.write(dump(await self._do(request)).encode() + b"\n")
                await writer.drain()
        except (ValueError, OSError) as e:
            print(f"bad request: {e}", file=sys.stderr)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _do(self, request: Request) -> dict[str, Any]:
        if request.do == "stop" and request.child is not None:
            status = await self._kin.stop(request.child, request.timeout) if self._kin is not None else None
            return {"status": status}
        if request.do == "stop":
            self.stop(request.timeout)
            await self._over.wait()
        elif request.do == "claim":
            late = request.until is not None and time.monotonic() > request.until
            return {"claimed": not late and await self._claim()}
        elif request.do == "dismiss":
            return {"dismissed": await self._dismiss()}
        elif request.do == "snapshot":
            return await self._snapshot(Path(request.file))
        elif request.do == "profile":
            return await self._profile(request)
        elif request.do == "vitals":
            return {"vitals": self._vitals(request.child)}
        elif request.do != "status":
            return {"error": f"unknown request {request.do!r}"}
        self._hub.look_for_the_end()
        client, end, endpoints = self._hub.client, self._end, self._endpoints
        return {
            "client": client.label if client else None,
            "dropped": self._hub.dropped,
            "log_lost": self._log.lost,
            "resets": self._resets + self._process.resets,
            "restarts": self._life.restarts,
            "began": self._life.began,
            "restarting": self._last is not None,
            "waiting": self._life.waiting,
            "children": self._kin.told() if self._kin is not None and end is None else [],
            "pty": endpoints.pty if endpoints else "",
            "port": endpoints.port if endpoints else 0,
            "unix": endpoints.unix if endpoints else "",
            "end": {"code": end.code, "cause": end.cause, "problem": end.problem} if end else None,
        }

    async def _claim(self) -> bool:
        """Let the script of a VM go on that waits. False: it does not, or not for long."""
        if not self._life.waiting or self._kin is None or self._end is not None or self._stopping:
            return False
        self._set_life(waiting=False, began=time.time())
        return await self._kin.let_go()

    async def _dismiss(self) -> bool:
        """End a VM that waits. False: somebody has claimed it."""
        if not self._life.waiting:
            return False
        self.stop(0)
        await self._over.wait()
        return True

    async def _snapshot(self, path: Path) -> dict[str, Any]:
        try:
            if self._kin is None:
                raise UsageError(
                    f"{self._folder.name} does not fork, and cannot be copied: nothing in it imports vm",
                    hint="fork = true in its image.toml",
                )
            if self._life.waiting:
                raise UsageError(f"{self._folder.name} waits to be claimed, and is as {self._spec.origin} has it")
            return {"size": await self._kin.snapshot(path, self._spec.app)}
        except FloeError as e:
            return {"error": e.message, "evidence": e.evidence, "hint": e.hint}
        except OSError as e:
            return {"error": f"cannot write {path}: {e.strerror}", "evidence": "", "hint": ""}

    async def _profile(self, request: Request) -> dict[str, Any]:
        from floe.detached.sampling import Sampler

        self._sampler = self._sampler or Sampler(self._folder)
        return await self._sampler.answer(self._process, request, lambda: self._stopping)

    async def _trace(self, request: Request, *streams: Any) -> None:  # a reader and a writer
        from floe.detached.tracing import Tracer

        self._tracer = self._tracer or Tracer(self._folder)
        # One that is being stopped is traced to its end: QEMU must not be asked for anything then (qemu/qmp.py).
        process = self._process
        await self._tracer.answer(process, request, streams, lambda: self._process is not process)

    def _vitals(self, child: str | None) -> dict[str, Any] | None:
        """Of the guest or of a child, for one who may not look into its memory."""
        from floe.detached import usage

        process = self._folder.vm
        if child is not None:
            found = [told["pid"] for told in self._kin.told() if told["name"] == child] if self._kin is not None else []
            process = Process.of(found[0]) if found else None
        self._guest = usage.guest_of(self._folder, process, self._guest)
        read = self._guest.vitals() if self._guest is not None else None
        return asdict(read) if read is not None else None

    def stop(self, grace_s: float) -> None:
        """Ask the guest to end as Ctrl-C does, and end it after grace_s; a second call ends it at once."""
        if self._end is not None:
            return
        again, self._stopping = self._stopping, True
        if self._last is not None:  # nothing runs
            self._process.cancel()
            return
        if again or grace_s <= 0 or self._life.waiting:
            self._end_all()
            return
        if self._kin is not None:
            self._kin.terminate()
        self._hub.type(stop_keys(self._spec.profile))
        self._loop.call_later(grace_s, self._end_all)

    def _end_all(self) -> None:
        if self._kin is not None:
            self._kin.kill()
        self._process.end()

    # ---- the end ------------------------------------------------------------------------------------

    def _ended(self, end: End) -> None:
        if self._kin is not None:
            self._kin.then(lambda: self._all_ended(end))
        else:
            self._all_ended(end)

    def _all_ended(self, end: End) -> None:
        if self._stopping and self._last is not None:
            end = msgspec.structs.replace(self._last, cause="stopped")
        elif self._stopping and end.cause == "exit":
            end = msgspec.structs.replace(end, cause="stopped")  # the code is the script's own
        for path in self._spec.leftovers:
            Path(path).unlink(missing_ok=True)
        if not self._stopping and self._is_wanted_again(end):
            self._last = end
            self._restarting = self._loop.create_task(self._restart(end))
        else:
            self._finish(end)

    def _finish(self, end: End) -> None:
        self._end = end
        try:
            self._folder.end = end
        except OSError as e:
            print(f"cannot write down the end: {e}", file=sys.stderr)
        self._over.set()

    def _is_wanted_again(self, end: End) -> bool:
        """By --restart; a VM that has never run has failed to start."""
        policy = self._spec.policy
        if not policy.wants(end.code) or not self._life.began:
            return False
        if not policy.allows(self._life.restarts):
            self._log.note(f"it ended with {_told(end)}, and is not started again: --restart {policy}")
            return False
        if set(self._spec.handed) - {self._spec.ruleset} - set(self._handed):
            self._log.note(
                f"it ended with {_told(end)}, and is not started again: what it was handed over (secrets, taps) is "
                f"lost with the processes that held it. floe start {self._folder.name} takes it anew"
            )
            return False
        return True

    async def _restart(self, end: End) -> None:
        wait = restart.delay_s(self._life.delay, time.time() - self._since if self._since else 0.0)
        number = self._life.restarts + 1
        self._set_life(restarts=number, delay=wait)
        self._since = 0.0
        self._log.note(f"it ended with {_told(end)}; restart {number} in {wait:g} s")
        await self._hub.flush(_FLUSH_S)
        self._hub.hang_up()  # as when it ends for good: nobody waits for an answer of the guest that is gone
        self._resets += self._process.resets
        self._process = self._make_process()
        self._found_family()
        if self._stopping:
            self._finish(msgspec.structs.replace(end, cause="stopped"))
            return
        try:
            self._process.start(self._handed, after_s=wait)
        except FloeError as e:
            self._finish(End(code=None, cause="failed", at=time.time(), problem=e.message))


def _told(end: End) -> str:
    """How it ended, in the words of `floe ps`."""
    return f"{end.code}, {end.cause}" if end.code is not None else end.problem


def _answer(fd: int, content: dict[str, str]) -> None:
    """Tell whoever started us."""
    with contextlib.suppress(OSError):
        os.write(fd, dump(content).encode())
    os.close(fd)


def _detach(folder: Folder) -> None:
    """Nothing of the terminal's or of the command that started us stays open or is waited for."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        log = os.open(folder.keeper_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        log = null
    for fd, target in ((0, null), (1, log), (2, log)):
        os.dup2(target, fd)


def main() -> None:
    """Keep one VM."""
    parser = argparse.ArgumentParser(prog="floe.detached.keeper")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--adopt", action="store_true")
    parser.add_argument("--inherited", type=int, nargs="*", default=(), help="descriptors for the hypervisor")
    options = parser.parse_args()
    folder = Folder(options.folder)
    _detach(folder)
    os.set_inheritable(options.ready, False)
    try:
        lock = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _answer(options.ready, {})  # another keeper was faster
        return
    own = Process.of(os.getpid())
    assert own is not None
    try:
        folder.keeper = own
    except OSError as e:
        if not options.adopt:
            _answer(options.ready, {"error": f"cannot write {folder.path}: {e.strerror}"})
            return

    async def serve() -> None:
        await Keeper(folder, asyncio.get_running_loop()).run(
            options.ready, adopt=options.adopt, inherited=options.inherited
        )

    asyncio.run(serve())


if __name__ == "__main__":
    main()
