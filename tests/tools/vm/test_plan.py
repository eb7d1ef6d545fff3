# SPDX-License-Identifier: MIT
"""vm/plan.py asks the hypervisor's driver, whichever it is: here one that no other module knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from floe.errors import UsageError
from floe.hypervisor import registry
from floe.spec.egress import Egress, Target
from floe.spec.network import Card
from floe.spec.ports import Forward
from floe.spec.runoptions import RunOptions
from floe.vm import plan

IMAGE = SimpleNamespace(
    path=Path("x.elf"),
    segments=(SimpleNamespace(address=0, memory_bytes=1),),
    content={"name": "x", "memory": 8 << 20, "drivers": ["virtio-net", "virtio-blk"]},
)


class Third:
    label = "Third"
    machines = ("slab",)
    accels = ()
    card_kinds = ("tap", "bridge")
    forwarding_kinds = ("bridge",)
    is_here = True
    relays_forwards = False
    copies = False
    guards_egress = False

    def __init__(self) -> None:
        self.claims: list[tuple[bool, bool]] = []

    def check(self, options: RunOptions) -> None:
        if options.capture:
            raise UsageError("Third captures nothing")

    def forwards_own(self) -> bool:
        return False

    def choose_accel(self, wanted: str) -> tuple[str, str]:
        return "own", f"{wanted}: the other was passed over"

    def with_macs(self, cards: Sequence[Card], uuid: str) -> tuple[Card, ...]:
        return tuple(replace(card, mac="02:00:00:00:00:01") for card in cards)

    def before_claim(self, *, forwards: bool, disks: bool) -> None:
        self.claims.append((forwards, disks))


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> Third:
    driver = Third()
    monkeypatch.setattr(registry, "create", lambda name: driver)
    return driver


def test_what_the_driver_says_is_planned(third: Third, tmp_path: Path) -> None:
    spec, why = plan.assemble(IMAGE, None, RunOptions(hypervisor="third", cards=("tap:t0",)))
    assert (spec.hypervisor, spec.machine, spec.accel) == ("third", "slab", "own")
    assert spec.cards == (Card("tap", "t0", mac="02:00:00:00:00:01"),)
    assert why == "auto: the other was passed over"
    disk = f"{tmp_path}/disk:size=64K"
    options = RunOptions(hypervisor="third", cards=("bridge:b0",), forwards=("0:80",), disks=(disk,))
    spec, _ = plan.assemble(IMAGE, None, options)
    assert spec.forwards[0].host_port and not spec.forwards[0].through
    assert third.claims == [(False, False), (True, True)]


@pytest.mark.parametrize(("options", "message", "hint"), [
    ({"cards": ("user",)}, "--net user:: not under Third", "--net tap:NAME, or --net bridge:NAME"),
    ({"cards": ("tap:t0",), "forwards": ("8080:80",)}, "-p 8080:80: no card to forward ports to", "--net user"),
    ({"capture": Path("x.pcap")}, "Third captures nothing", ""),
])  # fmt: skip
def test_what_the_driver_has_not_is_refused(third: Third, options: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        plan.assemble(IMAGE, None, RunOptions(hypervisor="third", **options))
    assert error.value.message.startswith(message)
    assert error.value.hint.startswith(hint)
    assert third.claims == []


def test_what_the_image_may_reach_holds_where_the_user_says_nothing(third: Third) -> None:
    own = SimpleNamespace(ports=(), allow=("192.0.2.1:80",), env={}, args=())
    options = RunOptions(hypervisor="third", cards=("tap:t0",))
    with pytest.raises(UsageError, match=r"^allow of image\.toml: not under Third, whose guests send"):
        plan.assemble(IMAGE, own, options)
    third.guards_egress = True
    with pytest.raises(UsageError, match=r"^allow of image\.toml: not with --net tap:t0, whose frames leave"):
        plan.assemble(IMAGE, own, options)
    with pytest.raises(UsageError, match=r"^--allow: not with --net tap:t0, whose frames leave"):
        plan.assemble(IMAGE, own, replace(options, allow=("none",)))
    third.card_kinds = ("user",)
    options = replace(options, cards=("user",))
    assert plan.assemble(IMAGE, own, options)[0].egress == Egress((Target("192.0.2.1", 80),))
    assert plan.assemble(IMAGE, own, replace(options, allow=("none",)))[0].egress == Egress()


def test_a_port_is_spread_over_a_family_alone(third: Third) -> None:
    image = SimpleNamespace(**{**vars(IMAGE), "content": {**IMAGE.content, "fork": True}})
    own = SimpleNamespace(ports=("0:80/spread",), allow=(), env={}, args=())

    def planned(made: object, config: object, *asked: str) -> Forward:
        options = RunOptions(hypervisor="third", cards=("bridge:b0",), forwards=asked)
        return plan.assemble(made, config, options)[0].forwards[0]

    third.forwards_own = lambda: True  # type: ignore[method-assign]  # a stand-in
    assert not planned(image, own).spread
    with pytest.raises(UsageError, match="-p 0:80/spread: not under Third, which does not copy a running VM"):
        planned(image, None, "0:80/spread")
    third.copies = True
    with pytest.raises(UsageError, match="-p 0:80/spread: not under Third, where each port is one VM's"):
        planned(image, None, "0:80/spread")
    third.relays_forwards = True
    assert planned(image, own).spread
    assert planned(image, None, "0:80/spread").spread
    with pytest.raises(UsageError, match="-p 0:80/spread: x does not fork") as error:
        planned(IMAGE, own)
    assert error.value.hint == "-p 0:80"


@pytest.mark.parametrize("name", registry.HYPERVISORS)
def test_every_driver_says_all_that_is_asked(name: str) -> None:
    driver = registry.create(name)
    assert [word for word in vars(Third) if not word.startswith("__") and not hasattr(driver, word)] == []
    assert driver.machines and set(driver.forwarding_kinds) <= set(driver.card_kinds)
