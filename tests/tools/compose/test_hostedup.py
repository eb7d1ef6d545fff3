# SPDX-License-Identifier: MIT
"""floe.compose.hostedup: which steps of a stack on hosts are carried out, in which order, and which links go. What it
does to real hosts is in test_hosted.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from floe.compose import hosted, hostedup, links, stackfile
from floe.compose.hosted import Fleet
from tests.support import tiny
from tests.support.hostedstacks import BOTH, Told
from tests.support.libvirthosts import EAST


class Dry(hostedup.Up):
    """Says what it would do."""

    def __init__(self, file: stackfile.StackFile, fleet: Fleet) -> None:
        super().__init__(file, "s", fleet, lambda text: None)
        self.did: list[tuple[str, str]] = []

    def _note_scales(self) -> None:
        pass

    def _remove_all(self, steps: Sequence[hosted.Step]) -> None:
        self.did += [("remove", step.label) for step in steps]

    def _have(self, step: hosted.Step) -> None:
        self.did.append((step.action, step.label))

    def _end(self, step: hosted.Step) -> None:
        self.did.append(("end", step.label))


@pytest.fixture
def wired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image that has a network; links between hosts are not made, and it is noted what is removed."""
    monkeypatch.setitem(tiny.CONTENT, "drivers", ["virtio-net"])
    monkeypatch.setattr(links, "have", lambda file, project, hosts, used: 1450)
    monkeypatch.setattr(Told, "look", lambda self: None)
    return tiny.build(tmp_path, tiny.HANG)


def in_a_network(image: Path, words: str, networks: str = "[network.n]") -> stackfile.StackFile:
    text = f'name = "s"\nhosts = ["east", "west"]\n{networks}\n[vm.a]\napp = "{image}"\naccel = "tcg"\n{words}\n'
    (image.parent / "compose.toml").write_text(text)
    return stackfile.load(image.parent, {})


def test_one_more_for_an_update_is_in_the_network_of_the_others(wired: Path) -> None:
    file = in_a_network(wired, 'replicas = 2\nargs = ["x"]\nnetworks = ["n"]')
    spare, *updates = hosted.plan(file, "s", (), Told(wired, *BOTH), lambda text: None)
    assert (spare.spare, [step.action for step in updates]) == (True, ["update", "update"])
    bridge = links.Link.of("s", "n").bridge
    assert spare.instance is not None and spare.instance.wires[0].startswith(f"bridge:{bridge},")
    assert len({step.addresses["n"] for step in (spare, *updates)}) == 3


def test_scaling_updates_nobody(wired: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "clear", lambda project, hosts, kept: None)
    file = in_a_network(wired, 'replicas = 3\nargs = ["x"]\nnetworks = ["n"]')
    dry = Dry(file, Told(wired, *BOTH))
    dry.scale("a", ())
    assert dry.did == [("start", "a.3")]


def test_networks_stay_as_long_as_a_vm_is_in_them(wired: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[str]] = []
    monkeypatch.setattr(links, "clear", lambda project, hosts, names: kept.append(list(names)))
    told = Told(wired, *BOTH)
    card = f"bridge:{links.Link.of('s', 'old').bridge},ip=10.100.0.2/24"
    told.vms[0] = replace(
        told.vms[0], mark=structs.replace(told.vms[0].mark, addresses={"old": "10.100.0.2"}, cards=[card])
    )
    Dry(in_a_network(wired, 'networks = ["n"]'), told).run([])
    Dry(in_a_network(wired, "", networks=""), told).run([])
    assert kept == [["n", "old"], ["old"]]


def test_a_vm_of_a_network_is_never_on_two_hosts(wired: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "clear", lambda project, hosts, kept: None)
    place = 'place = { label = "x" }\n[host.west]\nlabels = ["x"]'
    for words, did in (
        ('networks = ["n"]\n', [("remove", "a"), ("start", "a")]),
        ("", [("start", "a"), ("remove", "a")]),
    ):
        file, fleet = in_a_network(wired, words + place), Told(wired, (EAST, "s.a", 1.0, True))
        dry = Dry(file, fleet)
        dry.run(hosted.plan(file, "s", (), fleet, lambda text: None))
        assert dry.did == did
