# SPDX-License-Identifier: MIT
"""tools/floe/fleet/domain.py: a host's domains, as libvirt's own schema has them. test_vms.py starts some."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from floe.errors import UsageError
from floe.fleet import domain
from floe.fleet.mark import Mark
from floe.spec.disks import Disk
from floe.spec.network import Card
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec

UUID = "0c2e7a34-27b1-4b5c-9d10-000000000001"
MARK = Mark(app='a "<b>" & c.py', profile="sealed", image="0" * 64, memory=32 << 20)
FILES = domain.Files.of("/pool of ours", UUID, "/pool of ours/x.elf", (("env/0", "/pool of ours/handed"),))


DISKS = (Disk(Path("d.img")), Disk(Path("e"), readonly=True, optional=True))


def hosted(**values: object) -> str:
    own = VmSpec(Path("x.elf"), name="x", uuid=UUID, asked=(("A", "b"),), args=("a & b",))
    spec = replace(own, **values)  # type: ignore[arg-type]  # each test gives a field its own type
    files = replace(FILES, disks=tuple(1 << 20 for _ in spec.disks))
    return domain.hosted(spec, files, MARK, "name of ours")


def qemus(text: str) -> list[str]:
    return [word.get("value", "") for word in ElementTree.fromstring(text).iter(f"{{{domain.QEMU}}}arg")]


@pytest.mark.parametrize("machine", ["microvm", "q35"])
@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_the_schema_takes_it(machine: str, accel: str, tmp_path: Path) -> None:
    if shutil.which("virt-xml-validate") is None or shutil.which("xmllint") is None:
        pytest.skip("SKIP: virt-xml-validate, which reads it, is not installed")
    cards = (Card(), Card("bridge", "br0", mac="02:00:00:00:00:01", mtu=1450))
    file = tmp_path / "domain.xml"
    forwards = (Forward("0.0.0.0", 8080, 80),)
    file.write_text(hosted(machine=machine, accel=accel, cards=cards, forwards=forwards, disks=DISKS))
    done = subprocess.run(
        ["virt-xml-validate", str(file), "domain"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_processor_s_features_are_read_at_once() -> None:
    """Else some 300 questions to QEMU's monitor are most of what a start costs."""
    deleted = ElementTree.fromstring(hosted()).findall(f"{{{domain.QEMU}}}capabilities/{{{domain.QEMU}}}del")
    assert [one.get("capability") for one in deleted] == ["cpu-unavailable-features"]


def test_a_small_vm_has_small_pages() -> None:
    """Huge ones are zeroed whole, and a small guest touches little of each."""
    sources = [ElementTree.fromstring(hosted(memory=mib << 20)).find("memoryBacking/source") for mib in (64, 65)]
    assert [source.get("type") if source is not None else None for source in sources] == ["memfd", None]


def test_a_microvm_has_no_timer_that_ticks() -> None:
    assert qemus(hosted())[:4] == ["-machine", "pit=off", "-bios", "qboot.rom"]
    assert not {"pit=off", "-bios"} & set(qemus(hosted(machine="q35")))


def test_a_guest_that_forks_has_a_line_for_snapshots_behind_its_console_s_device() -> None:
    root = ElementTree.fromstring(hosted(children=0))
    consoles = [one for one in root.findall("devices/controller") if one.get("type") == "virtio-serial"]
    assert [one.get("index") for one in consoles] == ["0", "1"]
    assert root.find("devices/channel/target[@name='floe.family']/../address[@controller='1']") is not None
    drivers = [one.get("value") for one in root.iter(f"{{{domain.QEMU}}}property")]
    assert drivers == ["virtconsole", "virtconsole"], "a guest takes a family whose serial port is hung up for gone"
    assert "floe.family" not in hosted()


def test_ports_are_the_first_user_card_s() -> None:
    words = qemus(hosted(cards=(Card(), Card()), forwards=(Forward("127.0.0.1", 8080, 80),)))
    first, second = (word for word in words if word.startswith("user,"))
    assert "hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80" in first and "hostfwd" not in second
    assert [w for w in words if w.startswith("virtio-net")] == [
        "virtio-net-device,netdev=net0",
        "virtio-net-device,netdev=net1",
    ]


def test_a_disk_is_raw_whatever_is_on_it_and_is_found_again() -> None:
    root = ElementTree.fromstring(hosted(disks=DISKS))
    assert [driver.get("type") for driver in root.findall("devices/disk/driver")] == ["raw", "raw"]
    slices = [(part.get("offset"), part.get("size")) for part in root.iter("slice")]
    assert slices == 2 * [(str(64 << 10), str(1 << 20))]
    assert domain.disks_of(root) == [("/pool of ours/disk-d.img", False), ("/pool of ours/disk-e", True)]
    assert domain.names_of_disks(root) == [("d.img", False), ("e", True)]
    assert "floe.optional=1" in root.findtext("os/cmdline", "").split()


def test_what_is_asked_for_stands_on_no_command_line() -> None:
    text = hosted()
    assert "A=b" not in text and "env.A" not in text
    assert '<entry name="opt/floe/env/0" file="/pool of ours/handed" />' in text
    assert ElementTree.fromstring(text).findtext("os/cmdline", "").endswith("floe.env=1 -- a%20&%20b")


@pytest.mark.parametrize(("values", "message"), [
    ({"cards": (Card("bridge", "br0", mac="02:00:00:00:00:01"), Card())}, "--net user comes behind a bridge"),
    ({"forwards": (Forward("::1", 8080, 80),)}, r"-p \[::1\]:8080:80: .* IPv4 alone"),
    ({"forwards": (Forward("127.0.0.1", 0, 80),)}, "-p 0:80: which port is free"),
    ({"disks": 5 * DISKS[:1], "children": 0}, "1 network cards, 5 disks: microvm has room for 5 in all"),
    ({"disks": 6 * DISKS[:1]}, "1 network cards, 6 disks: microvm has room for 6 in all"),
])  # fmt: skip
def test_what_cannot_be_had_there(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hosted(**values)
