# SPDX-License-Identifier: MIT
"""Other hosts for tests: this machine by a real sshd and ssh, with keys, configurations and caches of the test's own.

Without namespaces ssh starts an sshd for each connection (ProxyCommand, sshd -i), which needs neither root nor a port.
With them each host is a network namespace with an address on one bridge, where an sshd listens. Their names and
addresses come of a number that one process has at a time; what a process leaves that was killed, the next one clears
away.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
_PRIVILEGE_SEPARATION = Path("/run/sshd")  # root's sshd wants it to be there
_NETWORK = "198.18.{}.{}"  # RFC 2544: of nobody's
_NUMBERS = 250  # of them
_SPACE = "floe-hosts-"  # and a number, and a host's name
_STEP_S = 30.0
_AGAIN_S = 0.02
H = TypeVar("H", bound="Hosts")


class Hosts:
    """Hosts that ssh reaches by their names, with an own folder each."""

    uri = "ssh://{}"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._entries = ""
        self.links: dict[str, str] = {}  # name: the device that leads to a host in a namespace
        self.addresses: dict[str, str] = {}  # of those
        self.spaces: dict[str, str] = {}
        for key in ("id", "hostkey", "wrong"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
        (folder / "authorized").write_text((folder / "id.pub").read_text())
        self.environment = {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "FLOE_SSH": shlex.join(["ssh", "-F", str(folder / "ssh_config")]),
        }

    def add(self, name: str, *, key: str = "id", address: str = "", **variables: str) -> Path:
        """Another host; its cache, in which are the images that it was sent. `variables`: of its environment."""
        cache = self.folder / name
        cache.mkdir()
        (self.folder / "known").open("a").write(f"{name} {(self.folder / 'hostkey.pub').read_text()}")
        config = self.config(name, {"XDG_CACHE_HOME": str(cache)} | variables)
        way = f"HostName {address}" if address else f"ProxyCommand {SSHD} -i -f {config}"
        self._entries += (
            f"Host {name}\n HostKeyAlias {name}\n User {getpass.getuser()}\n IdentityFile {self.folder / key}\n"
            f" IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {self.folder / 'known'}\n"
            f" GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n {way}\n"
        )
        (self.folder / "ssh_config").write_text(self._entries)
        self._write_table(name)
        return cache

    def config(self, name: str, variables: Mapping[str, str], more: str = "") -> Path:
        """The configuration of a host's sshd."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        words = " ".join(f'"{key}={value}"' for key, value in ({"PATH": path} | dict(variables)).items())
        file = self.folder / f"{name}.sshd"
        file.write_text(
            f"HostKey {self.folder / 'hostkey'}\nAuthorizedKeysFile {self.folder / 'authorized'}\nStrictModes no\n"
            f"UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nPermitRootLogin yes\n"
            f"SetEnv {words}\n{more}"
        )
        return file

    def cut_off(self, name: str) -> None:
        """Nothing gets to a host in a namespace any more, nor from it."""
        _run("ip", "link", "del", self.links[name])

    def _write_table(self, name: str) -> None:
        table = self.folder / "config" / "floe" / "hosts.toml"
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("a") as f:
            f.write(f'[{name}]\nuri = "{self.uri.format(name)}"\n')


@contextlib.contextmanager
def by_proxy(folder: Path, kind: type[H] = Hosts) -> Iterator[H]:  # type: ignore[assignment]  # of a default
    """Hosts that are this machine."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("SKIP: openssh-server is not installed")
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(exist_ok=True)  # it stays: another test may be using it
    yield kind(folder)


def _nothing(name: str) -> list[str]:
    return []


@contextlib.contextmanager
def in_namespaces(
    folder: Path,
    names: tuple[str, ...],
    kind: type[H] = Hosts,  # type: ignore[assignment]  # of a default
    inside: Callable[[str], list[str]] = _nothing,
) -> Iterator[H]:
    """A network namespace for each name, in which an sshd listens. inside(name): words that start the sshd there."""
    if os.geteuid() != 0:
        pytest.skip("SKIP: network namespaces need root")
    with by_proxy(folder, kind) as hosts, _own_number() as own, contextlib.ExitStack() as stack:
        bridge = f"flh{own}"
        _tried("ip", "link", "del", bridge)  # of who was killed
        _run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(_tried, "ip", "link", "del", bridge)
        _run("ip", "addr", "add", f"{_NETWORK.format(own, 1)}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        waiting = []
        for index, name in enumerate(names):
            space = f"{_SPACE}{own}-{name}"
            done = _tried("ip", "netns", "add", space)
            if done.returncode:
                pytest.skip(f"SKIP: no network namespaces: {done.stderr.strip()}")
            stack.callback(_forget, space)
            near, far = f"flh{own}a{index}", f"flh{own}b{index}"
            hosts.spaces[name], hosts.links[name] = space, near
            hosts.addresses[name] = there = _NETWORK.format(own, index + 2)
            _tried("ip", "link", "del", near)  # of who was killed between two of these steps
            _run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
            stack.callback(_tried, "ip", "link", "del", near)
            _run("ip", "link", "set", far, "netns", space)
            _run("ip", "link", "set", near, "master", bridge, "up")
            _run("ip", "-n", space, "addr", "add", f"{there}/24", "dev", far)
            for device in ("lo", far):
                _run("ip", "-n", space, "link", "set", device, "up")
            hosts.add(name, address=there)
            config = hosts.config(name, {"XDG_CACHE_HOME": str(folder / name)}, f"ListenAddress {there}\n")
            sshd = [*inside(name), str(SSHD), "-D", "-e", "-f", str(config)]
            process = subprocess.Popen(["ip", "netns", "exec", space, *sshd])
            stack.callback(_end, process)
            waiting.append((process, there))
        for process, there in waiting:
            _wait_for(process, there)
        yield hosts


@contextlib.contextmanager
def _own_number() -> Iterator[int]:
    """A number that no other process has, of which nothing is left; neither is of others that were killed."""
    spaces = _tried("ip", "netns", "list").stdout.split()
    left = {space.removeprefix(_SPACE).partition("-")[0] for space in spaces if space.startswith(_SPACE)}
    for number in map(int, left):
        with contextlib.suppress(OSError), _taken(number):
            for space in spaces:
                if space.startswith(f"{_SPACE}{number}-"):
                    _forget(space)
    for number in range(_NUMBERS):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_taken(number))
            except OSError:
                continue
            yield number
            return
    raise AssertionError("no number is free")


def _taken(number: int) -> socket.socket:
    """Holds the number until it is closed, or this process has ended. Raises OSError: another one has it."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0floe-test-hosts-{number}")
    except OSError:
        held.close()
        raise
    return held


def machines(cache: Path) -> list[int]:
    """Processes of hypervisors that run an image of this cache."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"-incoming" in (words := path.read_bytes()) and os.fsencode(cache) in words:
                found.append(int(path.parent.name))
    return found


def _wait_for(sshd: subprocess.Popen[bytes], address: str) -> None:
    """Until it listens."""
    end = time.monotonic() + _STEP_S
    while True:
        try:
            socket.create_connection((address, 22), timeout=_STEP_S).close()
            return
        except OSError as e:
            assert sshd.poll() is None, f"sshd ended with {sshd.returncode}"
            assert time.monotonic() < end, f"no sshd at {address}: {e}"
        time.sleep(_AGAIN_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # unshare waits for what it has started when it is asked
    process.wait(_STEP_S)


def _forget(space: str) -> None:
    """With what still runs there, which may not know yet that it is alone."""
    end = time.monotonic() + _STEP_S
    while pids := _tried("ip", "netns", "pids", space).stdout.split():
        assert time.monotonic() < end, f"processes {pids} do not leave {space}"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(_AGAIN_S)
    _tried("ip", "netns", "del", space)


def _tried(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=_STEP_S)


def output(*argv: str) -> str:
    """Of a command that shall go well."""
    done = _tried(*argv)
    assert done.returncode == 0, f"{shlex.join(argv)}: {done.stderr}"
    return done.stdout


def _run(*argv: str) -> None:
    output(*argv)
