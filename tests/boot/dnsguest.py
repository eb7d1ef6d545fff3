# SPDX-License-Identifier: MIT
"""A running images/dns for the tests, zones for it on a disk, and its modules, which CPython runs too."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from floe.testing import Boot, Guest
from tests.boot.served import Served, stop_all
from tests.support.command import floe

IMAGE = Path(__file__).resolve().parents[2] / "images" / "dns"
DEADLINE_S = 120.0  # for one test
_START_S = 30.0

# On the host no answer comes of the native code: all are the Python modules' own.
_no_native = SimpleNamespace(answer=lambda *_: None, widen=lambda _: None)
sys.modules.setdefault("_dns", _no_native)  # type: ignore[arg-type]  # anything with its functions serves as a module
if str(IMAGE) not in sys.path:
    sys.path.append(str(IMAGE))  # for the tests that import what runs in the guest

BootDns = Callable[..., "Dns"]


class Dns(Served):
    """A running images/dns that serves."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        ports = {(forward.guest_port, forward.protocol): forward.host_port for forward in vm.spec.forwards}
        self.udp, self.tcp = ports[53, "udp"], ports[53, "tcp"]
        self.admin = f"http://127.0.0.1:{ports[9100, 'tcp']}"
        vm.expect(r"dns: serving \d+ zones on port 53 \(IPv6, IPv4\)", timeout=_START_S)

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the admin port."""
        try:
            with urllib.request.urlopen(f"{self.admin}/{path}", timeout=_START_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read().decode()

    def metric(self, name: str) -> float:
        """The number of a line of /metrics; 0 if there is none."""
        lines = dict(line.rsplit(" ", 1) for line in self.page("metrics")[1].splitlines())
        return float(lines.get(name, 0))


def serve(boot: Boot) -> Iterator[BootDns]:
    """Body of a fixture boot_dns(disk=None, secrets={}, memory="", **env) -> Dns. Each must end in order, without a traceback."""
    running: list[Dns] = []

    def start(disk: Path | None = None, secrets: dict[str, Path] | None = None, memory: str = "32M", **env: str) -> Dns:
        boot.defaults["memory"] = memory
        disks = [str(disk)] if disk else []
        vm = boot("dns", deadline_s=DEADLINE_S, ports=[53, "53/udp", 9100], env=env, disks=disks, secrets=secrets or {})
        running.append(Dns(vm))
        return running[-1]

    yield start
    stop_all(running)


def disk_of(folder: Path, files: dict[str, str], size: str = "4M") -> Path:
    """A disk with these files."""
    image = folder / "zones.img"
    assert floe("disk", "create", image, "--size", size).returncode == 0
    for name, text in files.items():
        path = folder / "content" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for top in sorted((folder / "content").iterdir()):
        done = floe("disk", "cp", "-r", image, top, ":/")
        assert done.returncode == 0, done.stderr
    return image
