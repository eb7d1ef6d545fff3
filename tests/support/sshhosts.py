# SPDX-License-Identifier: MIT
"""Other hosts for tests: this machine by a real sshd and ssh, with keys, configurations and caches of the test's own.

Without namespaces ssh starts an sshd for each connection (ProxyCommand, sshd -i), which needs neither root nor a port.
With them each host is a network namespace with an address, where an sshd listens.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
_PRIVILEGE_SEPARATION = Path("/run/sshd")  # root's sshd wants it to be there
_NETWORK = "198.18.{}.{}"  # RFC 2544: of nobody's
_STEP_S = 30.0


class Hosts:
    """Hosts that ssh reaches by their names, with an own folder each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._entries = ""
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

    def _write_table(self, name: str) -> None:
        table = self.folder / "config" / "floe" / "hosts.toml"
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("a") as f:
            f.write(f'[{name}]\nuri = "ssh://{name}"\n')


@contextlib.contextmanager
def by_proxy(folder: Path) -> Iterator[Hosts]:
    """Hosts that are this machine."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("SKIP: openssh-server is not installed")
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(exist_ok=True)  # it stays: another test may be using it
    yield Hosts(folder)


@contextlib.contextmanager
def in_namespaces(folder: Path, names: tuple[str, ...]) -> Iterator[Hosts]:
    """A network namespace for each name, in which an sshd listens; who removes link_of() a name cuts it off."""
    if os.geteuid() != 0:
        pytest.skip("SKIP: network namespaces need root")
    with by_proxy(folder) as hosts, contextlib.ExitStack() as stack:
        for number, name in enumerate(names):
            space = f"floe-{os.getpid()}-{name}"
            done = subprocess.run(["ip", "netns", "add", space], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"SKIP: no network namespaces: {done.stderr.strip()}")
            stack.callback(_forget, space)
            near, far = link_of(name), f"fl{os.getpid()}b{number}"
            here, there = (_NETWORK.format(os.getpid() % 250, 4 * number + last) for last in (1, 2))
            _run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
            stack.callback(subprocess.run, ["ip", "link", "del", near], check=False, capture_output=True)
            _run("ip", "link", "set", far, "netns", space)
            _run("ip", "addr", "add", f"{here}/30", "dev", near)
            _run("ip", "link", "set", near, "up")
            _run("ip", "-n", space, "addr", "add", f"{there}/30", "dev", far)
            for device in ("lo", far):
                _run("ip", "-n", space, "link", "set", device, "up")
            hosts.add(name, address=there)
            config = hosts.config(name, {"XDG_CACHE_HOME": str(folder / name)}, f"ListenAddress {there}\n")
            sshd = subprocess.Popen(["ip", "netns", "exec", space, str(SSHD), "-D", "-e", "-f", str(config)])
            stack.callback(_end, sshd)
        yield hosts


def link_of(name: str) -> str:
    """The device that leads to a host in a namespace."""
    return f"fl{os.getpid() % 100000}{name}"[:15]


def machines(cache: Path) -> list[int]:
    """Processes of hypervisors that run an image of this cache."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"-incoming" in (words := path.read_bytes()) and os.fsencode(cache) in words:
                found.append(int(path.parent.name))
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(_STEP_S)


def _forget(space: str) -> None:
    """With what still runs there, which may not know yet that it is alone."""
    done = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False)
    for pid in done.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", space], check=False)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=_STEP_S)
