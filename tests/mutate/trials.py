# SPDX-License-Identifier: MIT
"""Which tests have to notice a mutant of which file: the nearest ones first, the guests last."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

FOLDERS = (
    "port/monitor",
    "port/boot",
    "modules/virtio",
    "modules/xen",
    "modules/lwip",
    "modules/tls",
    "tools/floe/image",
)
LANGUAGES = (".c", ".S", ".py")  # a header's mutants are those of what includes it: it has none of its own


@dataclass(frozen=True)
class Trial:
    """Tests that run together. guests: they boot VMs, so that the port is compiled before them."""

    tests: tuple[str, ...]
    guests: bool = False


_TRANSPORTS = Trial(tuple(f"tests/c/virtio/test_{name}.py" for name in ("transport_pci", "virtio_rng", "virtqueue")))
_CONSOLES = Trial(("tests/c/virtio/test_virtio_console.py", "tests/c/virtio/test_virtio_console_ctrl.py"))
# Not test_broken_promises.py: it edits the same lines, and fails where one has another text already.
_SECURITY = ("tests/target/security/test_services.py", "tests/target/security/test_kept_promises.py")
_RING0 = Trial((*_SECURITY, "tests/boot/test_hello.py", "tests/target/test_protection.py"), guests=True)
_START = Trial(("tests/boot/test_hello.py", "tests/target/test_machines.py", *_SECURITY), guests=True)
_TLS = Trial(("tests/target/test_tls.py",), guests=True)
_SOCKETS = Trial(("tests/target/test_socket.py", "tests/target/test_lan.py"), guests=True)

# The first pattern that a file matches has its trials; {0} is the file's name without its ending.
_TRIALS: list[tuple[str, tuple[Trial, ...]]] = [
    (r"port/monitor/.*", (Trial(("tests/c/port/test_port_monitor.py",)), _RING0)),
    (r"port/boot/(boot|paging)\.c", (Trial(("tests/c/port/test_port_boot.py",)), _START)),
    (r"port/boot/acpi\.c", (Trial(("tests/c/port/test_port_acpi.py",)), _START)),
    (r"port/boot/canary\.c", (Trial(("tests/target/test_protection.py",), guests=True),)),
    (r"port/boot/.*", (_START,)),
    (r"modules/virtio/virtio_console.*", (_CONSOLES, Trial(("tests/c/virtio",)))),
    (r"modules/virtio/virtio\.c", (_TRANSPORTS, Trial(("tests/c/virtio",)))),
    (r"modules/virtio/.*", (Trial(("tests/c/virtio/test_{0}.py",)), Trial(("tests/c/virtio",)))),
    (r"modules/xen/(netfront_[rt]x|xenring)\.c", (Trial(("tests/c/xen/test_netfront.py",)), Trial(("tests/c/xen",)))),
    (r"modules/xen/.*", (Trial(("tests/c/xen/test_{0}.py",)), Trial(("tests/c/xen",)))),
    (r"modules/lwip/mod_.*", (_SOCKETS,)),
    (r"modules/lwip/.*", (Trial(("tests/c/lwip",)), _SOCKETS)),
    (r"modules/tls/tls_platform\.c", (Trial(("tests/c/tls",)), _TLS)),
    (r"modules/tls/.*", (_TLS,)),
    (r"tools/floe/image/.*", (Trial(("tests/tools/image/test_{0}.py",)), Trial(("tests/tools/image",)))),
]


def trials(top: Path, file: str) -> list[Trial]:
    """What is run for a mutant of this file, in turn, until something fails. Tests that are not there are left out."""
    name = PurePosixPath(file).stem
    found = next(listed for pattern, listed in _TRIALS if re.fullmatch(pattern, file))
    named = [Trial(tuple(test.format(name) for test in trial.tests), trial.guests) for trial in found]
    there = [Trial(tuple(test for test in trial.tests if (top / test).exists()), trial.guests) for trial in named]
    return [trial for trial in there if trial.tests]
