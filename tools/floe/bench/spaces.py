# SPDX-License-Identifier: MIT
"""Network namespaces as hosts beside a VM: each has a tap of the VM's for its card, and addresses of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from floe.errors import NotFound, VmError

T = TypeVar("T")
_STEP_S = 30.0
_CLONE_NEWNET = 0x40000000
_ENDING = (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Space:
    """A namespace. Its tap is in this one until join(), so that a VM can be started with it."""

    def __init__(self, name: str, tap: str) -> None:
        self.name = name
        self.tap = tap

    def join(self, *addresses: str, gateways: tuple[str, ...] = ()) -> None:
        """Take the tap over, after the VM has opened it, with these addresses and default routes."""
        _ip("link", "set", self.tap, "netns", self.name)
        for address in addresses:
            self.ip("addr", "add", address, "dev", self.tap, *(["nodad"] if ":" in address else []))
        for device in ("lo", self.tap):
            self.ip("link", "set", device, "up")
        for gateway in gateways:
            self.ip("route", "add", "default", "via", gateway)

    def ip(self, *words: str) -> None:
        _ip("-n", self.name, *words)

    def argv(self, *words: object) -> list[str]:
        """A command that runs in it."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words: object, timeout_s: float = 60.0, check: bool = True) -> str:
        """Run a command in it to its end; what it prints. check: it has to end with 0. Raises VmError."""
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=timeout_s, check=False)
        if check and done.returncode:
            said = done.stdout + done.stderr
            raise VmError(f"{' '.join(map(str, words))} ended with {done.returncode}", evidence=said[-2000:])
        return done.stdout

    @contextlib.contextmanager
    def running(self, *words: object) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs in it until the block ends."""
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(self.argv(*words), stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            yield process
        finally:
            process.kill()
            process.wait(_STEP_S)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function in a thread of this process that is in it: sockets it makes are there."""
        result: list[T] = []
        wrong: list[BaseException] = []

        def work() -> None:
            try:
                with Path(f"/run/netns/{self.name}").open() as f:
                    if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                result.append(function(*args))
            except BaseException as e:
                wrong.append(e)

        thread = threading.Thread(target=work, daemon=True)  # our end does not wait for its
        thread.start()
        thread.join()
        if wrong:
            raise wrong[0]
        return result[0]


def why_none() -> str:
    """Why this machine gives us no namespaces with taps, "" if it does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is not there"
    if shutil.which("ip") is None:
        return "ip is not installed"
    probe = f"floe-{os.getpid()}-probe"
    done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, timeout=_STEP_S, check=False)
    if done.returncode:
        return f"no network namespaces: {done.stderr.strip()}"
    _ip("netns", "del", probe)
    return ""


@contextlib.contextmanager
def spaces(*names: str) -> Iterator[list[Space]]:
    """As many namespaces, each with a tap; they end with the block. Raises NotFound, VmError."""
    if why := why_none():
        raise NotFound(why, hint="sudo" if os.geteuid() else "")
    with contextlib.ExitStack() as stack:
        made = []
        for name in names:
            space = Space(f"floe-{os.getpid()}-{name}", f"f{os.getpid() % 100000}{name}"[:15])
            stack.callback(_forget, space)
            _ip("netns", "add", space.name)
            _ip("tuntap", "add", "dev", space.tap, "mode", "tap")
            _ip("link", "set", space.tap, "up")
            made.append(space)
        yield made


@contextlib.contextmanager
def wired(left: str, right: str, addresses: tuple[str, str]) -> Iterator[tuple[Space, Space]]:
    """Two namespaces with a veth pair between them in the place of their taps. Raises NotFound, VmError."""
    with spaces(left, right) as (one, other):
        for space in (one, other):
            _ip("link", "del", space.tap)
        pair = ["link", "add", one.tap, "netns", one.name, "type", "veth", "peer", "name", other.tap]
        _ip(*pair, "netns", other.name)
        for space, address in zip((one, other), addresses, strict=True):
            space.ip("addr", "add", address, "dev", space.tap)
            for device in ("lo", space.tap):
                space.ip("link", "set", device, "up")
        yield one, other


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=_STEP_S, check=False)
    if done.returncode:
        raise VmError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _forget(space: Space) -> None:
    """The tap goes with its namespace, or with the VM's end if it never joined."""
    with _undisturbed():
        for words in (["ip", "netns", "del", space.name], ["ip", "link", "del", space.tap]):
            # In a session of its own: a terminal tells Ctrl-C to all of ours.
            subprocess.run(words, capture_output=True, timeout=_STEP_S, check=False, start_new_session=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C, and the alarm of a round, which would leave for good what is being removed, come behind the block. A mask
    does not do instead: the kernel would give the signal to another thread, and Python that to this one."""
    if threading.current_thread() is not threading.main_thread():
        yield  # nothing is raised in another one
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)
