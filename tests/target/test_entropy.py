# SPDX-License-Identifier: MIT
"""What TLS cannot do without: a source of entropy, and for certificates a wall clock."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.qemu import commandline
from floe.qemu.commandline import Endpoints
from floe.spec.vmspec import VmSpec
from floe.testing import Boot

GUESTS = Path(__file__).resolve().parent / "guests"


def test_without_entropy_tls_refuses_to_start(accel: str, build: Callable[..., Path]) -> None:
    argv = commandline.command_line(
        VmSpec(build(GUESTS / "guest_entropy.py"), accel=accel, cards=()), Endpoints.for_paste()
    )
    rng = next(i for i, word in enumerate(argv) if word.startswith("virtio-rng"))
    del argv[rng - 1 : rng + 1]
    cpu = argv.index("-cpu") + 1
    argv[cpu] += ",-rdrand,-rdseed"
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    if accel == "kvm" and done.stdout.startswith("no error"):
        pytest.skip("SKIP: this host's KVM lets a guest see RDRAND all the same; TCG does not")
    assert done.stdout.splitlines() == [
        "no entropy source",
        "no entropy source (an entropy device or RDRAND): TLS refuses to start",
        "random True",
    ]


def test_without_a_clock_nothing_is_verified(boot: Boot) -> None:
    vm = boot(GUESTS / "guest_clock.py", deadline_s=30)
    assert vm.wait() == 0
    assert vm.console_text.splitlines() == [
        "2010",
        "no wall clock: the dates of certificates cannot be checked (set the time, or CERT_NONE)",
        "begun",
        "begun",
    ]
