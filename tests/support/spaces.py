# SPDX-License-Identifier: MIT
"""Network namespaces as hosts beside a VM: each has a tap of the VM's for its card, and addresses of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
_STEP_S = 30.0
_CLONE_NEWNET = 0x40000000


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
        """Run a command in it to its end; what it prints. check: it has to end with 0."""
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=timeout_s, check=False)
        assert not check or done.returncode == 0, f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}"
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

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if wrong:
            raise wrong[0]
        return result[0]


@contextlib.contextmanager
def spaces(*names: str) -> Iterator[list[Space]]:
    """As many namespaces, each with a tap; they end with the block. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("SKIP: network namespaces need root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("SKIP: /dev/net/tun is not there")
    with contextlib.ExitStack() as stack:
        made = []
        for name in names:
            space = Space(f"floe-{os.getpid()}-{name}", f"f{os.getpid() % 100000}{name}"[:15])
            done = subprocess.run(["ip", "netns", "add", space.name], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"SKIP: no network namespaces: {done.stderr.strip()}")
            stack.callback(_forget, space)
            _ip("tuntap", "add", "dev", space.tap, "mode", "tap")
            _ip("link", "set", space.tap, "up")
            made.append(space)
        yield made


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=_STEP_S, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _forget(space: Space) -> None:
    """The tap goes with its namespace, or with the VM's end if it never joined."""
    for words in (["ip", "netns", "del", space.name], ["ip", "link", "del", space.tap]):
        subprocess.run(words, capture_output=True, timeout=_STEP_S, check=False)
