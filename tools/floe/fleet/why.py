# SPDX-License-Identifier: MIT
"""Why a host's libvirt does not serve us, as one sentence with the next step: from ssh's words and libvirt's errors."""

from __future__ import annotations

from typing import Any

from floe.errors import HostError
from floe.hosts import ssh
from floe.hosts.table import LibvirtHost

_INSTALL = "sudo apt-get install -y --no-install-recommends libvirt-daemon-system qemu-system-x86"
_LETS_IN = "sudo usermod -aG libvirt $USER, and log in again"
_START = "sudo systemctl start libvirtd"
_AGAIN = "sudo systemctl restart libvirtd"
# Numbers of libvirt's errors (virErrorNumber): who asks is not let in.
_NOT_LET_IN = (45, 78, 79)


def silent(place: LibvirtHost, deadline_s: float) -> HostError:
    """Nothing came in time."""
    return HostError(f"{place.name} does not answer within {deadline_s:g} s", hint=_look(place))


def too_old(place: LibvirtHost, version: int, oldest: int) -> HostError:
    """A libvirt that was never tried."""
    return HostError(
        f"{place.name} has libvirt {dotted(version)}, floe needs {dotted(oldest)}", hint=f"{_there(place)}{_INSTALL}"
    )


def refused(place: LibvirtHost, error: Any, line: tuple[int | None, str]) -> HostError:
    """error: libvirt's. line: status and words of the ssh it went over, None while it runs."""
    number = error.get_error_code() or 0
    status, said = line
    lines = [text.strip() for text in said.splitlines() if text.strip()]
    last = lines[-1].removeprefix("error: ") if lines else ""
    if status == ssh.FAILED:
        return _not_reached(place, said, last, number)
    if status == 127:
        return HostError(f"{place.name} has no libvirt", hint=f"{_there(place)}{_INSTALL}", code=number)
    text = last if status is not None and last else (error.get_error_message() or str(error)).strip()
    if number in _NOT_LET_IN or "Permission denied" in text:
        return HostError(
            f"{place.name}: libvirt does not let us in: {text}", hint=_there(place) + _LETS_IN, code=number
        )
    if "libvirt-sock" in text or "virtqemud-sock" in text or "Failed to connect socket" in text:
        hint = f"{_there(place)}{_START}\nor, where it is not installed: {_INSTALL}"
        return HostError(f"{place.name}: no libvirtd is running: {text}", hint=hint, code=number)
    if "suitable emulator" in text or "No emulator found" in text:
        hint = f"{_there(place)}{_INSTALL}\nor, where it is installed, so that libvirt looks again: {_AGAIN}"
        return HostError(f"{place.name}: libvirt finds no QEMU there: {text}", hint=hint, code=number)
    if status is not None or "keepalive" in text or "client socket is closed" in text:
        return HostError(f"{place.name} is gone: {last or text}", hint=_look(place), code=number)
    return HostError(f"{place.name}: {text}", code=number)


def dotted(version: int) -> str:
    """A version as libvirt counts."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def _not_reached(place: LibvirtHost, said: str, last: str, number: int) -> HostError:
    if "Host key verification failed" in said:
        what = "its key has changed" if "HAS CHANGED" in said else "ssh does not know its key"
        return HostError(f"{place.name} is not trusted: {what}", hint=f"{_look(place)} asks", code=number)
    if any(word in said for word in ssh.DENIED):
        return HostError(f"{place.name} does not let us in: {last}", hint=f"ssh-copy-id; {_look(place)}", code=number)
    return HostError(f"{place.name} is not reached: {last}", hint=_look(place), code=number)


def _look(place: LibvirtHost) -> str:
    """A command that shows more."""
    return ssh.typed(place.ssh) if place.ssh else f"virsh -c {place.uri} version"


def _there(place: LibvirtHost) -> str:
    return f"on {place.ssh.address}: " if place.ssh else ""
