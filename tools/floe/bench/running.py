# SPDX-License-Identifier: MIT
"""A server that is measured, ours or a peer's, until the block ends: behind a tap of its own whose other end is in a
network namespace, or on loopback, where there is no root."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from floe.bench import guests, linux, unixport
from floe.bench.linux import LinuxVm
from floe.bench.peers import Peer, filled
from floe.bench.spaces import Space, spaces, wired
from floe.build import config, port_archive, pypi
from floe.errors import NotFound, TimedOut, VmError
from floe.spec.network import parse_cards
from floe.spec.ports import claim, parse_forward
from floe.spec.vmspec import VmSpec, parse_memory

SERVER, CLIENT, _BITS = "10.1.0.1", "10.1.0.2", 24
_LOOPBACK = "127.0.0.1"
_POLL_S = 0.02
_TAIL = 1500


@dataclass(frozen=True)
class App:
    """What is served. service: as peers name it. app: what floe builds, a folder or a script. port: with "/udp" if so.
    ready: what it says when it serves. memory: of our VM."""

    service: str
    app: Path
    port: int | str = 80
    ready: str = "serving"
    memory: str = "32M"
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return int(str(self.port).partition("/")[0])

    @property
    def main(self) -> Path:
        """Its script."""
        return self.app if self.app.is_file() else self.app / "main.py"

    def beside(self) -> dict[str, Path]:
        """What the script imports that is neither MicroPython's nor in its folder: packages of its image. Raises
        BuildError."""
        file = self.app / "image.toml"
        if not file.is_file() or not (settings := config.load(file.parent)).packages:
            return {}
        found = {}
        for root in pypi.merged(pypi.fetch_all(settings, port_archive.CACHE / "pypi", lambda text: None)):
            found.update({name: frozen.path for name, frozen in root.files.items()})
        return found


@dataclass(frozen=True)
class Endpoint:
    """Where it is reached. prefix: words before a load's command, which put it there."""

    address: str
    port: int
    prefix: tuple[str, ...] = ()
    space: Space | None = None

    def call(self, function: Callable[..., object], *args: object) -> object:
        """A function of ours, from where it is reached."""
        return self.space.call(function, *args) if self.space else function(*args)


@contextlib.contextmanager
def ours(app: App, accel: str, end: float, *, tap: bool = True, machine: str = "microvm") -> Iterator[Endpoint]:
    """A VM of ours. end: of time.monotonic(), for its start. Raises VmError, TimedOut, NotFound."""
    elf = guests.build(app.app)
    env = tuple(app.env.items())
    if not tap:
        spec = guests.spec(elf, accel=accel, machine=machine, memory=app.memory, ports=[app.port], env=env)
        with guests.booted(spec) as vm:
            guests.expect(vm, app.ready, left_s(end))
            yield Endpoint(_LOOPBACK, vm.ports[app.number])
        return
    with spaces("c") as (space,):
        cards = parse_cards([_card(space.tap)])
        spec = guests.spec(elf, accel=accel, machine=machine, memory=app.memory, cards=cards, env=env)
        with guests.booted(spec) as vm:
            guests.expect(vm, app.ready, left_s(end))
            space.join(f"{CLIENT}/{_BITS}")
            yield Endpoint(SERVER, app.number, tuple(space.argv()), space)


def _card(tap: str) -> str:
    return f"tap:{tap},ip={SERVER}/{_BITS},ip6=none"


def command(app: App, accel: str, *, tap: bool = True) -> str:
    """With which a user has the VM that ours() starts, where a tap is named so."""
    forwards = () if tap else (parse_forward(f"0:{app.port}"),)
    env = tuple(app.env.items())
    spec = VmSpec(app.app, memory=parse_memory(app.memory), accel=accel, forwards=forwards, env=env)
    return guests.command_of(spec, app.app, *(["--net", _card("tap0")] if tap else []))


@contextlib.contextmanager
def theirs(peer: Peer, app: App, accel: str, end: float, *, tap: bool = True) -> Iterator[Endpoint]:
    """A peer. accel: of its VM, if it is one. Raises as ours(), and BuildError."""
    start = {"process": _process, "linux": _linux, "own": _own}[peer.kind]
    with start(peer, app, accel, end, tap) as endpoint:
        yield endpoint


def prepare(peer: Peer, app: App, *, tap: bool = True) -> None:
    """Fetch and build what it needs, before anything is timed. Raises NotFound, BuildError."""
    if peer.kind == "linux":
        linux.kernel()
        _root(peer, app)
        return
    if peer.kind == "own" and not tap:
        raise NotFound("it needs a tap")
    for name in peer.programs:
        linux.find(name)
    if _runs_micropython(peer):
        unixport.build()
    app.beside()


def _runs_micropython(peer: Peer) -> bool:
    return any("{micropython}" in word for word in peer.command)


def left_s(end: float) -> float:
    """Seconds until then. Raises TimedOut when there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimedOut("it does not serve in its time")
    return left


@contextlib.contextmanager
def _process(peer: Peer, app: App, accel: str, end: float, tap: bool) -> Iterator[Endpoint]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floe-bench-")))
        if tap:
            both = (f"{CLIENT}/{_BITS}", f"{SERVER}/{_BITS}")
            client, server = stack.enter_context(wired("c", "s", both))
            endpoint = Endpoint(SERVER, app.number, tuple(client.argv()), client)
            prefix = server.argv()
        else:
            free = claim([parse_forward(f"0:{app.port}")])[0].host_port
            endpoint, prefix = Endpoint(_LOOPBACK, free), []
        values = _values(peer, app, accel, endpoint, folder)
        _fill_folder(folder, peer, app, values)
        stack.enter_context(_started(prefix, peer, app, values, endpoint, end))
        yield endpoint


@contextlib.contextmanager
def _own(peer: Peer, app: App, accel: str, end: float, tap: bool) -> Iterator[Endpoint]:
    prepare(peer, app, tap=tap)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floe-bench-")))
        (space,) = stack.enter_context(spaces("c"))
        endpoint = Endpoint(SERVER, app.number, tuple(space.argv()), space)
        values = _values(peer, app, accel, endpoint, folder) | {"tap": space.tap}
        _fill_folder(folder, peer, app, values)
        stack.enter_context(_started([], peer, app, values, endpoint, end))
        yield endpoint


def _values(peer: Peer, app: App, accel: str, endpoint: Endpoint, folder: Path) -> dict[str, str]:
    """On this machine. Raises NotFound, BuildError."""
    values = {name: str(linux.find(name)) for name in peer.programs}
    if _runs_micropython(peer):
        unixport.build()
        values["micropython"] = str(unixport.BINARY)
    return values | {
        "port": str(endpoint.port),
        "address": endpoint.address,
        "here": peer.here,
        "memory": peer.memory,
        "accel": accel,
        "dir": str(folder),
        "data": str(app.main.parent / "data"),
        "script": str(folder / app.main.name),
        "python": sys.executable,
    }


def _fill_folder(folder: Path, peer: Peer, app: App, values: Mapping[str, str]) -> None:
    """The script, what it imports, and the peer's own files."""
    for name, path in _script_files(app).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    for name in peer.files:
        (folder / name).write_text(filled((Path(peer.here) / name).read_text(), values))


def _script_files(app: App) -> dict[str, Path]:
    beside = (
        {path.name: path for path in app.main.parent.glob("*.py")} if app.app.is_dir() else {app.main.name: app.main}
    )
    library = unixport.library() if app.service == "static" else {}
    return {**library, **app.beside(), **beside}


@contextlib.contextmanager
def _started(
    prefix: list[str], peer: Peer, app: App, values: Mapping[str, str], endpoint: Endpoint, end: float
) -> Iterator[None]:
    """A process and its group, which end with the block."""
    folder = Path(values["dir"])
    argv = prefix + [filled(word, values) for word in peer.command]
    env = {"PORT": values["port"], "ADDRESS": values["address"], "PYTHONUNBUFFERED": "1", "SITE": values["data"]}
    env |= dict(app.env)
    env |= {key: filled(value, values) for key, value in peer.env.items()}
    with (folder / "said").open("w+b") as said:
        try:
            process = subprocess.Popen(
                argv, cwd=folder, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=said,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as e:
            raise NotFound(f"{peer.name} cannot start {argv[0]}: {e.strerror}") from e
        try:
            _wait(
                peer,
                process,
                folder / "said",
                endpoint,
                min(end, time.monotonic() + peer.ready_s),
                values.get("tap", ""),
            )
            yield
            if process.poll() is not None:
                raise VmError(f"{peer.name} ended with {process.returncode}", evidence=_tail(folder / "said"))
        finally:
            _end(process, peer)


def _end(process: subprocess.Popen[bytes], peer: Peer) -> None:
    """As its file says, and then by force; its group too, for what a script has started."""
    try:
        if process.poll() is None:
            process.send_signal(peer.signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(peer.stop_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(peer: Peer, process: subprocess.Popen[bytes], said: Path, endpoint: Endpoint, end: float, tap: str) -> None:
    """Until it serves: it has said so, or its port takes a connection; a tap is joined as soon as it is opened."""
    joined = not tap
    while time.monotonic() < end:
        if process.poll() is not None:
            raise VmError(f"{peer.name} ended with {process.returncode} before it served", evidence=_tail(said))
        if not joined and _is_open(tap):
            assert endpoint.space is not None
            endpoint.space.join(f"{CLIENT}/{_BITS}")
            joined = True
        if joined and (peer.ready in said.read_text(errors="replace") if peer.ready else _accepts(endpoint)):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
    raise TimedOut(f"{peer.name} does not serve in its time: {_tail(said)}")


def _is_open(tap: str) -> bool:
    try:
        return Path(f"/sys/class/net/{tap}/carrier").read_text().strip() == "1"
    except OSError:
        return False


def _accepts(endpoint: Endpoint) -> bool:
    def connect() -> bool:
        try:
            socket.create_connection((endpoint.address, endpoint.port), timeout=0.5).close()
        except OSError:
            return False
        return True

    return bool(endpoint.call(connect))


def _tail(said: Path) -> str:
    return said.read_text(errors="replace")[-_TAIL:].strip()


@contextlib.contextmanager
def _linux(peer: Peer, app: App, accel: str, end: float, tap: bool) -> Iterator[Endpoint]:
    root = _root(peer, app)
    ready = peer.ready or f"serving on port {app.number}"
    words = " ".join(peer.kernel)
    with contextlib.ExitStack() as stack:
        if not tap:
            vm = LinuxVm(None, (app.port,), {}, accel=accel, root=root, memory=peer.memory, words=words)
            stack.enter_context(vm)
            vm.wait_for(ready)
            yield Endpoint(_LOOPBACK, vm.ports[app.number])
            return
        (space,) = stack.enter_context(spaces("c"))
        words += f" floe_ip={SERVER}/{_BITS}"
        vm = LinuxVm(None, (), {}, accel=accel, root=root, memory=peer.memory, taps=(space.tap,), words=words)
        stack.enter_context(vm)
        vm.wait_for(ready)
        space.join(f"{CLIENT}/{_BITS}")
        yield Endpoint(SERVER, app.number, tuple(space.argv()), space)


_roots: dict[tuple[str, str], Path] = {}  # made once in this process, by peer and service


def _root(peer: Peer, app: App) -> Path:
    """The root file system of its microVM: the script in /app, its data in /rom, packages where they belong."""
    key = peer.name, app.service
    if key in _roots:
        return _roots[key]
    values = {"port": str(app.number), "address": "0.0.0.0", "memory": peer.memory, "dir": "/app", "data": "/rom"}
    values |= {"script": f"/app/{app.main.name}", "micropython": "/bin/micropython"}
    files: linux.Files = {}
    for package in peer.packages:
        files |= linux.package_files(package)
    for name in peer.programs:
        files |= linux.linked(name)
        values[name] = f"/app/{name}"
    if _runs_micropython(peer):
        unixport.build()
        files["bin/micropython"] = (0o755, unixport.BINARY.read_bytes())
    for name, path in _script_files(app).items():
        files[f"app/{name}"] = (0o644, path.read_bytes())
    for path in sorted((app.main.parent / "data").rglob("*")) if app.app.is_dir() else ():
        if path.is_file():
            files[f"rom/{path.relative_to(app.main.parent / 'data')}"] = (0o644, path.read_bytes())
    for name in peer.files:
        files[f"app/{name}"] = (0o644, filled((Path(peer.here) / name).read_text(), values).encode())
    env = {"PORT": str(app.number), "SITE": "/rom"} | dict(app.env)
    env |= {key: filled(value, values) for key, value in peer.env.items()}
    words = [*(f"{key}={shlex.quote(value)}" for key, value in env.items())]
    words += [shlex.quote(filled(word, values)) for word in peer.command]
    listening = 0 if peer.ready else app.number
    _roots[key] = made = linux.root_of(f"{peer.name}-{app.service}", " ".join(words), files, listening)
    return made
