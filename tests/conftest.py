# SPDX-License-Identifier: MIT
"""Fixtures for every test: the accelerators of this host, and `boot`, which runs an image in a VM."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

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

    boot(app, deadline_s=, dev=False, memory="32M", machine="microvm", net=(), ports=(), args=(), env={}, switches=())
    `app` is what the fixture `build` takes; `net` are values of --net; `ports` are guest ports, and vm.ports[80]
    is where 80 is reached on 127.0.0.1 ("80/udp" for UDP). All VMs of a test share one event loop: a wait on one serves all.
    What they said is shown when the test fails; they are ended when it is over."""
    loop = asyncio.new_event_loop()
    guests: list[Guest] = []

    def boot_one(
        app: str | Path,
        *,
        deadline_s: float,
        dev: bool = False,
        memory: str = "32M",
        machine: str = "microvm",
        net: Sequence[str] = (),
        ports: Sequence[int | str] = (),
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        switches: Sequence[str] = (),
    ) -> Guest:
        spec = VmSpec(
            elf=build(app, dev=dev),
            memory=parse_memory(memory),
            machine=machine,
            accel=accel,
            cards=parse_cards(net),
            forwards=claim([parse_forward(f"0:{port}") for port in ports]),
            env=tuple((env or {}).items()),
            args=tuple(args),
            switches=tuple(switches),
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
