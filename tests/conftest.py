# SPDX-License-Identifier: MIT
"""Fixtures for every test: the accelerators of this host, and `boot`, which runs an image in a VM."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import pytest

from floe import accel as accelerators
from floe import image
from floe.console import Ended
from floe.errors import VmError
from floe.net import parse_cards
from floe.ports import claim, parse_forward
from floe.qemu import VmSpec, parse_memory
from floe.vm import Vm

REPO = Path(__file__).resolve().parent.parent


class Guest(Vm):
    """A Vm with one deadline for the whole test: what waits past it ends as TimedOut, or with exit code 124."""

    def __init__(self, spec: VmSpec, loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        super().__init__(spec, loop=loop)
        self._deadline = time.monotonic() + deadline_s

    def left_s(self) -> float:
        """Seconds to the deadline, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def expect(self, text: str, *, deadline_s: float | None = None) -> Ended:
        """As Vm.expect; the test's deadline is the default."""
        return super().expect(text, deadline_s=self.left_s() if deadline_s is None else deadline_s)

    def wait(self, *, deadline_s: float | None = None) -> int:
        """As Vm.wait; the test's deadline is the default."""
        return super().wait(deadline_s=self.left_s() if deadline_s is None else deadline_s)


class BootOptions(TypedDict, total=False):
    """What `boot` takes beside the image: values as `floe run` takes them."""

    memory: str  # "32M"
    machine: str
    net: Sequence[str]  # values of --net
    ports: Sequence[int | str]  # of the guest; "53/udp" for UDP
    args: Sequence[str]
    env: Mapping[str, str]
    switches: Sequence[str]


Boot = Callable[..., Guest]


@pytest.fixture(params=["kvm", "tcg"])
def accel(request: pytest.FixtureRequest) -> str:
    """Each accelerator in turn; KVM is skipped, with the reason, where this host has none that works."""
    name: str = request.param
    if name == "kvm":
        try:
            accelerators.check_kvm()
        except VmError as e:
            pytest.skip(f"SKIP: {e.message}")
    return name


@pytest.fixture(scope="session")
def build() -> Callable[..., Path]:
    """build(app, dev=False) -> ELF of an image's name ("hello"), a folder, a script, or an ELF as it is; built once."""
    built: dict[tuple[Path, bool], Path] = {}

    def build_once(app: str | Path, *, dev: bool = False) -> Path:
        path = REPO / "images" / app if isinstance(app, str) else app
        if path.suffix == ".elf":
            return path
        if (path, dev) not in built:
            built[path, dev] = image.build(path, profile="dev" if dev else "sealed").path
        return built[path, dev]

    return build_once


@pytest.fixture
def boot(accel: str, build: Callable[..., Path]) -> Iterator[Boot]:
    """Boot images, each on every accelerator:

        def test_hello(boot):
            vm = boot("hello", deadline_s=10)
            assert vm.expect("hello, world") is Matched
            assert vm.wait() == 0                  # text AND exit code
            assert "PANIC" not in vm.console_text  # AND nothing went wrong quietly

    boot(app, deadline_s=, dev=False, and any of BootOptions). `app` is what the fixture `build` takes. vm.ports[80] is
    the port of 127.0.0.1 where the guest's port 80 is reached. All VMs of a test share one event loop: a wait on one
    serves all. They are ended when the test is over, and what they said is shown if it failed."""
    loop = asyncio.new_event_loop()
    guests: list[Guest] = []

    def boot_one(app: str | Path, *, deadline_s: float, dev: bool = False, **options: Unpack[BootOptions]) -> Guest:
        spec = VmSpec(
            elf=build(app, dev=dev),
            memory=parse_memory(options.get("memory", "32M")),
            machine=options.get("machine", "microvm"),
            accel=accel,
            cards=parse_cards(options.get("net", ())),
            forwards=claim([parse_forward(f"0:{port}") for port in options.get("ports", ())]),
            env=tuple(options.get("env", {}).items()),
            args=tuple(options.get("args", ())),
            switches=tuple(options.get("switches", ())),
        )
        guest = Guest(spec, loop, deadline_s)
        guest.start()
        guests.append(guest)
        return guest

    try:
        yield boot_one
    finally:
        for number, guest in enumerate(guests):
            guest.close()
            print(f"---- guest {number}: {guest.outcome}\n{guest.console_text}\n{guest.messages.text}")
        loop.close()
