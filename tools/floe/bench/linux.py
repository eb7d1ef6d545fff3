# SPDX-License-Identifier: MIT
"""The peer: a Linux microVM whose only process is the same script with the same MicroPython, or a program of this
machine; or a router between two taps, with nftables.

Debian's cloud kernel and busybox are fetched with apt-get as packages and only unpacked; the root file system is
an initramfs made here. Everything lies in bench/linux below the builds. No swap, no disk, no other service.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from floe.bench import unixport
from floe.errors import NotFound, VmError
from floe.lab import assets
from floe.qemu.commandline import find_qemu
from floe.spec.ports import claim, parse_forward

FOLDER = unixport.BENCH / "linux"
MEMORY = "256M"
# Not microvm: that has no clock by which Debian's kernel can calibrate its own where the host is busy.
MACHINE = "q35"
_APT_TIMEOUT_S = 300
_PACKAGES = {"nft": "nftables"}  # of programs that are not called as theirs
_BOOT_TIMEOUT_S = 60
# In the order in which they depend on each other.
_DRIVERS: tuple[str, ...] = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
_DRIVERS += ("failover", "net_failover", "virtio_net")
_FILTER = ("nf_tables", "nft_ct", "nft_masq", "nft_chain_nat")
_PLAIN = "console=ttyS0 quiet panic=-1 reboot=t"
TUNED = "mitigations=off apparmor=0 audit=0 random.trust_cpu=on nokaslr"
_INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for d in {drivers}; do insmod /drivers/$d.ko; done
ip link set lo up; ip link set eth0 up; ip addr add "${{floe_ip:-10.0.2.15/24}}" dev eth0
[ "$floe_ip" ] || ip route add default via 10.0.2.2
ulimit -n 4096
cd /app
{command}
echo "linux: the script ended with $?"
poweroff -f
"""
_ROUTER = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for d in {drivers}; do insmod /drivers/$d.ko; done
for n in 0 1; do ip addr add 10.$((n + 1)).0.1/24 dev eth$n; ip link set eth$n up; done
echo 1 >/proc/sys/net/ipv4/ip_forward
echo {flows} >/proc/sys/net/netfilter/nf_conntrack_max
/app/nft -f /app/rules && echo "linux: forwarding"
while sleep 1; do
  n=$(cat /proc/sys/net/netfilter/nf_conntrack_count)
  [ "$n" = "$last" ] || echo "linux: $n flows"; last=$n
done
"""


Files = dict[str, tuple[int, bytes]]  # path in the guest -> mode and content


def kernel() -> tuple[Path, str]:
    """The kernel's file and version, fetched and unpacked if it is not there. Raises NotFound."""
    with _locked():
        found = sorted(FOLDER.glob("root/boot/vmlinuz-*-cloud-amd64"))
        if not found:
            depends = _run(["apt-cache", "depends", "linux-image-cloud-amd64"])
            package = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", depends)
            if package is None:
                raise NotFound("apt knows no linux-image-cloud-amd64", hint="apt-get update")
            for name in ("busybox-static", package[1]):  # where the kernel is, both are
                _unpack(name)
            found = sorted(FOLDER.glob("root/boot/vmlinuz-*-cloud-amd64"))
    return found[-1], found[-1].name.removeprefix("vmlinuz-")


def _locked() -> AbstractContextManager[None]:
    """For whoever looks for a file: what is there while another process unpacks it is not whole."""
    return assets.locked(FOLDER.with_name("linux.lock"), lambda text: None)


def _unpack(package: str, into: Path | None = None) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=Path(scratch))
        _run(["dpkg-deb", "-x", str(next(Path(scratch).glob("*.deb"))), str(into or FOLDER / "root")])


def package_files(package: str) -> Files:
    """What a package of Debian's installs, fetched and unpacked if it is not there; links as what they lead to, if that
    is in it. Raises NotFound."""
    folder = FOLDER / "packages" / package
    with _locked():
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=_made(FOLDER / "packages")) as scratch:
                _unpack(package, Path(scratch) / "tree")
                (Path(scratch) / "tree").rename(folder)
    found: Files = {}
    for path in sorted(folder.rglob("*")):
        where = (
            (folder / os.readlink(path).lstrip("/")) if path.is_symlink() and path.readlink().is_absolute() else path
        )
        if where.is_file():
            found[str(path.relative_to(folder))] = (0o755 if os.access(where, os.X_OK) else 0o644, where.read_bytes())
    return found


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(argv: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=_APT_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise NotFound(f"{argv[0]} is not installed", hint="the Linux microVM is of Debian's packages") from None
    except subprocess.TimeoutExpired:
        raise NotFound(f"{' '.join(argv)} did not end within {_APT_TIMEOUT_S} s") from None
    if done.returncode:
        raise NotFound(f"{argv[0]} failed: {done.stderr.strip()[-400:]}", hint="apt-get update")
    return done.stdout


def _entry(number: int, name: str, mode: int, content: bytes = b"") -> bytes:
    """One file of a cpio archive in the format that Linux calls newc."""
    path = name.encode() + b"\0"
    mtime = 1  # not 0, by which nsd tells a zone file that it has not read yet
    fields = (number, mode, 0, 0, 1, mtime, len(content), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    head += b"\0" * (-len(head) % 4)
    return head + content + b"\0" * (-len(content) % 4)


def initramfs(main: Path, env: dict[str, str], heap: str) -> Path:
    """A root file system that runs `main` from its folder; the files of its data/ are in /rom."""
    words = "".join(f"{key}={value} " for key, value in env.items())
    name = f"{main.parent.name}-{main.stem}"
    return _root(name, f"{words}/bin/micropython -X heapsize={heap} {main.name}", script_files(main))


def script_files(main: Path) -> Files:
    """MicroPython, a script in /app with what lies beside it and Floe's library, and its data/ in /rom."""
    unixport.build()
    files: Files = {"bin/micropython": (0o755, unixport.BINARY.read_bytes())}
    for path in sorted(main.parent.glob("*.py")):
        files[f"app/{path.name}"] = (0o644, path.read_bytes())
    for name, path in unixport.library().items():
        files[f"app/{name}"] = (0o644, path.read_bytes())
    for path in sorted((main.parent / "data").rglob("*")):
        if path.is_file():
            files[f"rom/{path.relative_to(main.parent / 'data')}"] = (0o644, path.read_bytes())
    return files


def find(binary: str) -> Path:
    """A program of this machine, else of Debian's package. Raises NotFound."""
    if path := _on_machine(binary):
        return Path(path)
    package = _PACKAGES.get(binary, binary)
    with _locked():
        if not _unpacked(binary):
            _unpack(package)
        found = _unpacked(binary)
    if not found or _lacking(found[0]):
        problem = f"{binary} is not installed, and its package alone does not run"
        raise NotFound(problem, hint=f"apt-get install {package}")
    return found[0]


def _lacking(path: Path) -> bool:
    """Whether it is linked with libraries of packages that are not here."""
    argv = ["ldd", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_APT_TIMEOUT_S, check=False)
    return "=> not found" in done.stdout


def is_there(binary: str) -> bool:
    """Whether find() has nothing to fetch."""
    return bool(_on_machine(binary)) or any(not _lacking(path) for path in _unpacked(binary))


def _on_machine(binary: str) -> str | None:
    return shutil.which(binary, path="/usr/sbin:/usr/bin:/sbin:/bin")


def _unpacked(binary: str) -> list[Path]:
    # A link's other end may be in a package that is not here: redis-server is in redis-tools.
    return [path for path in FOLDER.glob(f"root/usr/*bin/{binary}") if path.is_file()]


def program(binary: str, arguments: str, files: dict[str, bytes], port: int = 0) -> Path:
    """A root file system that runs a program, with the libraries it is linked with. Raises NotFound.

    port: "serving on port N" is said as soon as the program listens there.
    """
    root = linked(binary) | {name: (0o644, content) for name, content in files.items()}
    return root_of(binary, f"./{binary} {arguments}", root, port)


def root_of(name: str, command: str, files: Files, port: int = 0) -> Path:
    """A root file system with these files, whose init runs a line of its shell. port: as program() has it.

    Raises NotFound."""
    listens = f"until grep -qs ':{port:04X} .* 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.01; done"
    listens += f"; echo serving on port {port}"
    users: Files = {"etc/passwd": (0o644, b"root:x:0:0::/:/bin/sh\n"), "etc/group": (0o644, b"root:x:0:\n")}
    return _root(name, (f"({listens}) &\n" if port else "") + command, users | files)


def linked(binary: str) -> Files:
    """A program as /app/NAME, and its libraries."""
    path = find(binary)
    files: Files = {f"app/{binary}": (0o755, path.read_bytes())}
    for library in re.findall(r"(/\S+) \(0x", _run(["ldd", str(path)])):
        files[library.lstrip("/")] = (0o755, Path(library).read_bytes())
    return files


def router(name: str, rules: str, flows: int) -> Path:
    """A root file system that forwards between eth0, 10.1.0.1/24, and eth1, 10.2.0.1/24, with these rules of nft's and
    room for so many flows. It says "linux: forwarding", and then how many flows there are. Raises NotFound."""
    modules = _modules((*_DRIVERS, *_FILTER))
    files = linked("nft") | {"app/rules": (0o644, rules.encode())}
    return _pack(name, _ROUTER.format(drivers=" ".join(modules), flows=flows), files, modules)


def _modules(wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Modules of the kernel, each behind those that it needs, but what the kernel has built in. Raises NotFound."""
    version = kernel()[1]
    folder = next((FOLDER / "root").glob(f"**/lib/modules/{version}"), None)  # lib, or usr/lib since Debian 13
    if folder is None:
        raise NotFound(f"Debian's package of Linux {version} has no modules")
    built_in = (folder / "modules.builtin").read_text()
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in found or not name:
            return
        path = next((path for end in (".ko", ".ko.xz") for path in folder.rglob(name + end)), None)
        if path is None and f"/{name}.ko" in built_in:
            return
        if path is None:
            raise NotFound(f"Linux {version} of Debian's has no module {name}")
        content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        needed = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in needed[1].decode().split(",") if needed else ():
            add(other)
        found[name] = content

    for name in wanted:
        add(name)
    return found


def _root(name: str, command: str, own: Files) -> Path:
    modules = _modules(_DRIVERS)
    return _pack(name, _INIT.format(drivers=" ".join(modules), command=command), own, modules)


def _pack(name: str, init: str, own: Files, modules: dict[str, bytes]) -> Path:
    files = {"init": (0o755, init.encode()), **own}
    busybox = next(p for p in (FOLDER / "root").rglob("busybox") if p.is_file() and os.access(p, os.X_OK))
    files["bin/busybox"] = (0o755, busybox.read_bytes())
    files |= {f"drivers/{module}.ko": (0o644, content) for module, content in modules.items()}
    out = FOLDER / f"{name}.cpio.gz"
    new = FOLDER / f".{name}.{os.getpid()}"  # another process may boot the one that is there
    new.write_bytes(gzip.compress(_cpio(files), 6, mtime=0))
    return new.replace(out)


def _cpio(files: Files) -> bytes:
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    folders |= {"proc", "sys", "dev", "tmp"}
    parts = [_entry(i, name, 0o040755) for i, name in enumerate(sorted(folders), 1)]
    parts += [_entry(1000 + i, name, 0o100000 | mode, data) for i, (name, (mode, data)) in enumerate(files.items())]
    for number, applet in enumerate(("sh", "mount", "insmod", "ip", "poweroff", "echo", "grep", "sleep", "cat")):
        parts.append(_entry(2000 + number, f"bin/{applet}", 0o120777, b"busybox"))
    return b"".join([*parts, _entry(0, "TRAILER!!!", 0)])


@dataclass
class LinuxVm:
    """A running Linux microVM as a context manager; `ports` maps the guest's ports to ours on 127.0.0.1."""

    main: Path | None
    guest_ports: tuple[int | str, ...]  # as -p has them: 53, "53/udp"
    env: dict[str, str]
    heap: str = "512K"  # of 256K to 16M, the small ones serve the most requests
    words: str = TUNED  # more of the kernel's command line
    accel: str = "tcg"
    root: Path | None = None  # in the place of main: what program() made
    memory: str = MEMORY
    taps: tuple[str, ...] = ()  # in the place of the user network, a card for each
    macs: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        root = self.root or initramfs(self.main or Path(), self.env, self.heap)
        forwards = claim([parse_forward(f"0:{port}") for port in self.guest_ports])
        self.ports = {f.guest_port: f.host_port for f in forwards}
        fwd = "".join(f",hostfwd={f.protocol}:127.0.0.1:{f.host_port}-10.0.2.15:{f.guest_port}" for f in forwards)
        self.argv = [find_qemu(), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        self.argv += ["-M", f"{MACHINE},usb=off,sata=off,smbus=off,vmport=off", "-accel", self.accel, "-cpu", "max"]
        self.argv += ["-smp", "1", "-m", self.memory, "-serial", "stdio"]
        vhost = "on" if os.access("/dev/vhost-net", os.R_OK | os.W_OK) else "off"  # as floe does
        cards = [f"tap,id=net{n},ifname={tap},script=no,downscript=no,vhost={vhost}" for n, tap in enumerate(self.taps)]
        for number, card in enumerate(cards or [f"user,id=net0{fwd}"]):
            mac = f",mac={self.macs[number]}" if self.macs else ""
            self.argv += ["-netdev", card]
            self.argv += ["-device", f"virtio-net-pci,disable-legacy=on,romfile=,netdev=net{number}{mac}"]
        self.argv += ["-kernel", str(kernel()[0]), "-initrd", str(root), "-append", f"{_PLAIN} {self.words}"]
        self._log = tempfile.TemporaryFile()
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        return self

    @property
    def text(self) -> str:
        """What the guest said."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def wait_for(self, text: str) -> float:
        """Seconds from the start of QEMU until the guest said `text`. Raises VmError."""
        while text not in self.text:
            ended = self._process.poll() is not None or "KVM internal error" in self.text
            if ended or time.monotonic() - self.started_at > _BOOT_TIMEOUT_S:
                raise VmError(f"the Linux microVM did not say {text!r}", evidence=self.text[-2000:])
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
        return time.monotonic() - self.started_at

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()


def clean() -> None:
    """Remove what was fetched."""
    shutil.rmtree(FOLDER, ignore_errors=True)
