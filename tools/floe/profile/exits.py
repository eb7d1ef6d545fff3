# SPDX-License-Identifier: MIT
"""Exits: how often the processor left the guest, by reasons, which is counted; and at which lines of Python it was at
an instruction that does so, which is sampled.

A sample finds the processor at such an instruction for as long as what it asks for takes. So a line's part is one of
the time that exits took, and not of their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from floe.profile.samples import NOWHERE, Row, Stack

ALL = "exits"
OTHERS = "others"
_LEAST = 0.005
_LINES, _PLACES = 15, 5

# By KVM's names (Linux arch/x86/kvm/x86.c).
REASONS = {
    "halt_exits": "the guest waits for an interrupt",
    "mmio_exits": "registers of devices, which QEMU answers for",
    "io_exits": "ports, which QEMU answers for",
    "irq_exits": "an interrupt of the host's came",
    "irq_window_exits": "the guest can take an interrupt again",
    "nmi_window_exits": "the guest can take an NMI again",
    "request_irq_exits": "QEMU wants to give the guest an interrupt",
    "signal_exits": "QEMU was called away, by this profile for one",
    "notify_window_exits": "the guest took no interrupt for too long",
    OTHERS: "the kernel's own: notified devices, interrupt controller and timer, pages",
}

# The guest's functions that exits come from (port/hal, port/monitor, modules/virtio), but for its waiting.
PLACES = {
    "hal_irq_timer": "sets the timer",
    "hal_irq_timer_start": "sets the timer",
    "hal_uart_write": "writes to the 16550",
    "irq_end": "ends an interrupt",
    "mmio_get_config": "reads a device's configuration",
    "mmio_irq_take": "asks a device why it interrupts",
    "mmio_notify": "notifies a device",
    "pci_get_config": "reads a device's configuration",
    "pci_notify": "notifies a device",
}


def reasons(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Each reason that came up, the most frequent first. OTHERS: at least so many have none of their own, as an exit
    may count for two."""
    found = {name: count for name, count in counts.items() if name != ALL and count > 0}
    found[OTHERS] = max(0, counts.get(ALL, 0) - sum(found.values()))
    return sorted(((name, count) for name, count in found.items() if count), key=lambda one: (-one[1], one[0]))


def at(stacks: Sequence[Stack]) -> list[Stack]:
    """Those samples in which the processor was where exits come from."""
    return [stack for stack in stacks if stack.c in PLACES]


def rows(stacks: Sequence[Stack]) -> list[Row]:
    """The lines that the most of these samples were at, each with what it was there for. stacks: by at()."""
    samples = sum(stack.count for stack in stacks)
    lines: dict[str, Counter[str]] = {}
    for stack in stacks:
        line = stack.frames[-1].place if stack.frames else NOWHERE
        lines.setdefault(line, Counter())[f"{stack.c}: {PLACES[stack.c]}"] += stack.count
    found = []
    for line, places in sorted(lines.items(), key=lambda one: (-one[1].total(), one[0]))[:_LINES]:
        if places.total() < samples * _LEAST:
            continue
        found.append(Row(places.total() / samples, None, line, python=True))
        found += [Row(count / samples, None, place, python=False) for place, count in places.most_common(_PLACES)]
    return found
