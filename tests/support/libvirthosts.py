# SPDX-License-Identifier: MIT
"""Libvirt hosts for tests: namespaces of this machine, with an sshd, a libvirtd and a virtlogd each, all real ones.

They share this machine's root file system, or that of another Debian in a folder which FLOE_HOST_ROOT names, or for one
host FLOE_HOST_ROOT_EAST. What libvirt reads and writes is each one's own and in memory, as /run is; so are host name,
processes, and the UUID by which libvirt tells hosts apart. Without root: the user's own libvirt, which libvirt's client
starts (qemu:///session), with folders of the test's.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.errors import NotFound
from floe.fleet.binding import binding
from tests.support import sshhosts
from tests.support.nobody import NOBODY
from tests.support.sshhosts import Hosts

EAST, WEST = "east", "west"
ROOT = "FLOE_HOST_ROOT"
SBIN = "/usr/sbin"  # libvirtd's, which is not in everybody's PATH
_LEFT_S = 10.0
_INSIDE = ("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc")
# What a host does first: $1 its name, $2 its UUID, $3 how much libvirt may write, $4 its root and $5 what that gets of
# this machine's files; then what follows.
_START = """
set -e
if [ "$4" != / ]; then
    mount --bind "$4" "$4"
    cd "$4"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mkdir -p ".$5"
    mount --bind "$5" ".$5"
    pivot_root . mnt
    cd /
    hash -r
    umount -l /mnt
fi
export PATH=$PATH:/usr/sbin LC_ALL=C
unset LD_PRELOAD XDG_RUNTIME_DIR
hostname "$1"
for folder in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $folder
    mount -t tmpfs -o size=$3 floe-test $folder
done
mkdir -p /run/sshd /run/lock
echo "host_uuid = \\"$2\\"" > /etc/libvirt/libvirtd.conf
cat > /etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
END
virtlogd -d
libvirtd -d
shift 5
exec "$@"
"""
# Once: the host's address, $1, becomes the bridge's.
_BRIDGE = """
read -r _ card _ < <(ip -o address show to "$1")
[ "$card" != br0 ] || exit 0
ip link add br0 type bridge
ip address del "$1/24" dev "$card"
ip link set "$card" master br0
ip address add "$1/24" dev br0
ip link set br0 up
"""


class LibvirtHosts(Hosts):
    """Hosts whose libvirts ssh reaches."""

    uri = "qemu+ssh://{}/system"

    def run(self, name: str, *argv: str) -> str:
        """Output of a command that runs there."""
        return sshhosts.output("nsenter", "-t", str(self.first(name)), "-a", "--", *argv)

    def bridge(self, name: str) -> str:
        """A bridge there, which the host's card is a port of."""
        self.run(name, "bash", "-ec", _BRIDGE, "bash", self.addresses[name])
        return "br0"

    def first(self, name: str) -> int:
        """The first process of a host, with which all of it ends."""
        pids = map(int, sshhosts.output("ip", "netns", "pids", self.spaces[name]).split())
        return next(pid for pid in pids if _number_inside(pid) == 1)

    def kill(self, name: str) -> None:
        """Power off: all at once, and over when this returns."""
        first = self.first(name)
        fd = os.pidfd_open(first)  # whose end is told when all others of its namespace have ended
        try:
            os.kill(first, signal.SIGKILL)
            assert select.select([fd], [], [], 60)[0], f"{name} does not end"
        finally:
            os.close(fd)


def _number_inside(pid: int) -> int:
    """A process's number as those in its own namespace see it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])


def root_of(name: str) -> str:
    """The folder that is / on a host."""
    return os.environ.get(f"{ROOT}_{name.partition('.')[0].upper()}") or os.environ.get(ROOT) or "/"


def need() -> None:
    """Skip, with the reason, where there is no libvirt to start or none to speak with it."""
    for tool in ("libvirtd", "virtlogd"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:{SBIN}") is None:
            pytest.skip(f"SKIP: {tool} is not installed")
    try:
        binding()
    except NotFound as e:
        pytest.skip(f"SKIP: {e.message}")


@contextlib.contextmanager
def in_namespaces(folder: Path, names: tuple[str, ...], size: str = "512m") -> Iterator[LibvirtHosts]:
    """A host for each name. size: as mount's, what each of libvirt's folders there holds."""
    need()

    def inside(name: str) -> list[str]:
        return [*_INSIDE, "bash", "-c", _START, "bash", name, str(uuid.uuid4()), size, root_of(name), str(folder)]

    with sshhosts.in_namespaces(folder, names, LibvirtHosts, inside) as hosts:
        yield hosts


@contextlib.contextmanager
def of_a_user() -> Iterator[dict[str, str]]:
    """qemu:///session as the host `here`, with folders of its own: the environment in which it is that, for the user that
    tests/support/nobody.py makes of root (whose qemu:///session is the system's)."""
    need()
    with tempfile.TemporaryDirectory(prefix="floe-user-") as made:  # where another user gets to, as pytest's are not
        folder = Path(made)
        table = folder / "config" / "floe" / "hosts.toml"
        table.parent.mkdir(parents=True)
        table.write_text('[here]\nuri = "qemu:///session"\n')
        (folder / "run").mkdir(mode=0o700)
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        names = {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache", "HOME": "."}
        names |= {"XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state"}
        try:
            yield {name: str(folder / place) for name, place in names.items()}
        finally:
            for file in (folder / "run" / "libvirt").glob("*.pid"):
                _end(file)


def _end(file: Path) -> None:
    """The process whose number a file has."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(file.read_text())
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _LEFT_S
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
