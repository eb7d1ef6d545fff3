# SPDX-License-Identifier: MIT
"""Tap devices and bridges of the network namespace that this process is in: what they are, who holds one, and a new tap
on a bridge. By ioctl: /sys shows another namespace's devices under `nsenter -n`."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import shutil
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from floe.errors import FloeError, NotFound
from floe.spec.network import Card
from floe.store import vmfolder

_TUN = "/dev/net/tun"
_HELPER = "qemu-bridge-helper"
_HELPER_FOLDERS = "/usr/lib/qemu:/usr/libexec:/usr/lib/qemu-kvm:/usr/local/libexec"
_HELPER_S = 10.0
# linux/sockios.h, linux/if_tun.h, linux/ethtool.h, linux/if.h
_SIOCGIFINDEX, _SIOCETHTOOL, _SIOCBRADDIF = 0x8933, 0x8946, 0x89A2
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFHWADDR, _SIOCSIFHWADDR = 0x8913, 0x8914, 0x8927, 0x8924
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000
_ETHTOOL_GDRVINFO, _DRVINFO_BYTES = 3, 196
_IFF_UP = 1
# linux/rtnetlink.h, linux/netlink.h, linux/if_link.h
_RTM_NEWLINK, _RTM_GETLINK, _NLM_F_REQUEST, _IFLA_MASTER = 16, 18, 1, 10


def check_host(cards: Sequence[Card]) -> None:
    """Whether the host has what the cards name. Raises FloeError or NotFound with the command that mends it."""
    for card in cards:
        if card.kind == "tap":
            check(card.name)
        elif card.kind in ("listen", "connect") and _is_another_file(card.name, followed=card.kind == "connect"):
            raise FloeError(f"--net {card.kind}:{card.name}: it is there, and no socket", hint="name another place")
        elif card.kind == "connect" and not os.path.exists(card.name):
            raise NotFound(
                f"no socket {card.name} to connect a network card to",
                hint=f"start the other VM first, with --net listen:{card.name}",
            )
        elif card.kind == "listen" and not Path(card.name).parent.is_dir():
            raise NotFound(f"--net listen:{card.name}: its folder does not exist")


def _is_another_file(name: str, *, followed: bool) -> bool:
    """QEMU removes what it finds in place of the socket that it makes, whatever it is; a link, too."""
    try:
        return not stat.S_ISSOCK(os.stat(name, follow_symlinks=followed).st_mode)
    except OSError:
        return False


def check(name: str) -> None:
    """Whether a VM can have this tap. Raises FloeError with the command that mends it."""
    make = f"sudo ip tuntap add dev {name} mode tap user $USER && sudo ip link set {name} up"
    if not _exists(name):
        raise FloeError(f"there is no tap device {name}", hint=make)
    if _driver(name) != ("tun", "tap"):
        raise FloeError(f"{name} is a network device, but not a tap", hint=make.replace(name, "tap0"))
    with contextlib.suppress(FileNotFoundError):  # no /dev/net/tun: QEMU says so
        try:
            os.close(_attach(name, _IFF_VNET_HDR))
        except PermissionError:
            raise FloeError(
                f"tap device {name} is another user's", hint=f"sudo ip tuntap del dev {name} mode tap && {make}"
            ) from None
        except OSError as e:
            if e.errno == errno.EBUSY:
                who = holder(name)
                raise FloeError(
                    f"tap device {name} is in use",
                    evidence=f"by: {who}" if who else "",
                    hint=f"another tap for this VM: {make.replace(name, 'tap1')}",
                ) from None


def holder(name: str, proc: Path = Path("/proc")) -> str:
    """Who has a tap open: "VM NAME (pid N)", "COMMAND (pid N)", or "" where that may not be seen."""
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            for info in (folder / "fdinfo").iterdir():
                with contextlib.suppress(OSError):
                    if f"iff:\t{name}\n" in info.read_text():
                        return f"{_vm(int(folder.name)) or (folder / 'comm').read_text().strip()} (pid {folder.name})"
    return ""


def bridge_of(name: str) -> str:
    """The bridge that this device is a port of; "" where it is of none."""
    try:
        index = socket.if_nametoindex(name)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            request = struct.pack("IHHII", 32, _RTM_GETLINK, _NLM_F_REQUEST, 0, 0)
            sock.sendto(request + struct.pack("BxHiII", 0, 0, index, 0, 0), (0, 0))
            answer = sock.recv(1 << 16)
        master = _attribute(answer, _IFLA_MASTER)
        bridge = socket.if_indextoname(struct.unpack("I", master)[0]) if master else ""
    except OSError:
        return ""
    return bridge if bridge and _driver(bridge)[0] == "bridge" else ""


def _attribute(answer: bytes, wanted: int) -> bytes:
    """Of what the kernel says of a device: rtnetlink(7)."""
    at, (end, kind) = 32, struct.unpack_from("IH", answer)
    while kind == _RTM_NEWLINK and at + 4 <= min(end, len(answer)):
        size, found = struct.unpack_from("HH", answer, at)
        if found == wanted or size < 4:
            return answer[at + 4 : at + size]
        at += (size + 3) & ~3
    return b""


def _vm(pid: int) -> str:
    for folder in vmfolder.everything():
        if folder.vm is not None and folder.vm.pid == pid:
            return f"VM {folder.name}"
    return ""


@contextlib.contextmanager
def bridged(cards: Sequence[Card], *, captured: bool) -> Iterator[tuple[tuple[Card, ...], list[int]]]:
    """The cards with a tap for each of kind `bridge`, and the taps' descriptors, which end with the last process that
    has them. captured: frames start with their first byte. Raises FloeError."""
    fds: list[int] = []
    try:
        done = []
        for card in cards:
            if card.kind == "bridge":
                fds.append(_on_bridge(card.name, 0 if captured else _IFF_VNET_HDR))
                card = replace(card, fd=fds[-1])
            done.append(card)
        yield tuple(done), fds
    finally:
        for fd in fds:
            os.close(fd)


def _on_bridge(bridge: str, flags: int) -> int:
    if not _exists(bridge) or _driver(bridge)[0] != "bridge":
        what = "is a network device, but not a bridge" if _exists(bridge) else "does not exist"
        raise FloeError(
            f"bridge {bridge} {what}",
            hint=f"sudo ip link add {bridge} type bridge && sudo ip link set {bridge} up",
        )
    return _own_tap(bridge, flags) if os.geteuid() == 0 else _helped(bridge, flags)


def _own_tap(bridge: str, flags: int) -> int:
    """As root: a tap that lives as long as its descriptor."""
    try:
        fd = _attach("floe%d", flags)
    except OSError as e:
        raise FloeError(f"cannot make a tap for bridge {bridge}: {_TUN}: {e.strerror}", hint="modprobe tun") from e
    try:
        name = bytes(fcntl.ioctl(fd, 0x800454D2, bytes(40)))[:16].rstrip(b"\0").decode()  # TUNGETIFF
        # The bridge takes the lowest address of its ports for its own: not this one, which comes and goes.
        mac = bytearray(_ifreq(_SIOCGIFHWADDR, name)[16:32])
        mac[2] = 0xFE
        _ifreq(_SIOCSIFHWADDR, name, bytes(mac))
        _ifreq(_SIOCBRADDIF, bridge, struct.pack("i", socket.if_nametoindex(name)))
        (old,) = struct.unpack_from("h", _ifreq(_SIOCGIFFLAGS, name), 16)
        _ifreq(_SIOCSIFFLAGS, name, struct.pack("h", old | _IFF_UP))
    except OSError as e:
        os.close(fd)
        raise FloeError(f"cannot put a tap on bridge {bridge}: {e.strerror}", hint="sudo floe run ...") from e
    return fd


def _helped(bridge: str, flags: int) -> int:
    """By QEMU's helper, which an administrator lets ordinary users call."""
    helper = shutil.which(_HELPER, path=_HELPER_FOLDERS) or shutil.which(_HELPER)
    mend = (
        f"echo allow {bridge} | sudo tee -a /etc/qemu/bridge.conf; sudo chmod u+s {helper or _HELPER}\n"
        f"or a tap that an administrator puts on it: --net tap:NAME"
    )
    if helper is None:
        raise FloeError(
            f"bridge {bridge} takes root's rights, or QEMU's {_HELPER}, which is not installed",
            hint="sudo apt-get install qemu-system-common\n" + mend,
        )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = [helper, *(["--use-vnet"] if flags else []), f"--br={bridge}", f"--fd={theirs.fileno()}"]
        try:
            done = subprocess.run(
                argv, pass_fds=[theirs.fileno()], capture_output=True, text=True, timeout=_HELPER_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            raise FloeError(f"{helper} does not work: {e}", hint=mend) from e
        if done.returncode != 0:
            raise FloeError(f"no tap on bridge {bridge} for this user", evidence=done.stderr.strip(), hint=mend)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    return fds[0]


def _attach(name: str, flags: int) -> int:
    fd = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | flags))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _exists(name: str) -> bool:
    try:
        _ifreq(_SIOCGIFINDEX, name)
    except OSError:
        return False
    return True


def _driver(name: str) -> tuple[str, str]:
    """Driver and bus of a network device; empty where it tells nothing."""
    info = array.array("B", struct.pack("I", _ETHTOOL_GDRVINFO).ljust(_DRVINFO_BYTES, b"\0"))
    try:
        _ifreq(_SIOCETHTOOL, name, struct.pack("P", info.buffer_info()[0]))
    except OSError:
        return "", ""
    raw = info.tobytes()
    driver, bus = (raw[at : at + 32].split(b"\0")[0].decode() for at in (4, 4 + 32 + 32 + 32))
    return driver, bus


def _ifreq(request: int, name: str, value: bytes = b"") -> bytes:
    """One ioctl on the device of this name; struct ifreq as it comes back. Raises OSError."""
    if len(name.encode()) > 15:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, request, struct.pack("16s24s", name.encode(), value))
