# SPDX-License-Identifier: MIT
"""A VM as a domain of libvirt's (libvirt.org/formatdomain.html): a q35 with an image as its kernel."""

from __future__ import annotations

from xml.etree import ElementTree

from floe.spec.guestline import guest_command_line
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec

NETWORK = "default"  # libvirt's own, with DHCP


def domain(spec: VmSpec, *, networked: bool) -> str:
    """The domain's XML, with a card on libvirt's own network where it is networked. Raises UsageError."""
    root = ElementTree.Element("domain", type=spec.accel if spec.accel == "kvm" else "qemu")
    _text(root, "name", spec.name)
    _text(root, "memory", str(spec.memory >> 10), unit="KiB")
    _text(root, "vcpu", "1")
    system = ElementTree.SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="q35")
    _text(system, "kernel", str(spec.elf))
    _text(system, "cmdline", guest_command_line(spec, (Card("bridge", NETWORK),) if networked else ()))
    ElementTree.SubElement(ElementTree.SubElement(root, "features"), "acpi")
    if spec.accel == "kvm":
        cpu = ElementTree.SubElement(root, "cpu", mode="host-passthrough")
        ElementTree.SubElement(cpu, "feature", policy="disable", name="arch-capabilities")
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", "restart")
    _text(root, "on_crash", "destroy")
    devices = ElementTree.SubElement(root, "devices")
    if networked:
        card = ElementTree.SubElement(devices, "interface", type="network")
        ElementTree.SubElement(card, "source", network=NETWORK)
        ElementTree.SubElement(card, "model", type="virtio")
    ElementTree.SubElement(devices, "serial", type="pty")
    ElementTree.SubElement(devices, "controller", type="usb", model="none")
    ElementTree.SubElement(devices, "memballoon", model="none")
    source = ElementTree.SubElement(devices, "rng", model="virtio")
    _text(source, "backend", "/dev/urandom", model="random")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _text(parent: ElementTree.Element, tag: str, content: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = content
