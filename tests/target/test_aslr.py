# SPDX-License-Identifier: MIT
"""port/boot/place.c: ring 3 lies at a random place, another one each boot; where it would be without, and where the
monitor would be with it, there is nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.testing import Boot, Guest
from tests.support.command import floe
from tests.support.layout import Layout

STEP = 2 << 20
LEAST, MOST = 512 << 30, 64 << 40
GUEST = """
import sys, uctypes
print("at", id(print), uctypes.addressof(bytearray(8)))
offset = id(print) - int(sys.argv[1])
for word in sys.argv[2:]:
    address = int(word.lstrip("+")) + (offset if word[0] == "+" else 0)
    print("read", uctypes.bytearray_at(address, 1)[0])
print("done")
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("aslr") / "guest_aslr.py"
    script.write_text(GUEST)
    return script


@pytest.fixture(scope="module")
def layout(build: Callable[..., Path], guest: Path) -> Layout:
    return Layout(build(guest))


def run(boot: Boot, guest: Path, layout: Layout, *words: str, switches: tuple[str, ...] = ()) -> Guest:
    known = layout["mp_builtin_print_obj"]
    vm = boot(guest, deadline_s=30, args=(str(known), *words), switches=switches)
    vm.wait()
    return vm


def places(vm: Guest, layout: Layout) -> tuple[int, int]:
    """How far the image has been moved, and where a block of the heap is."""
    found = re.search(r"^at (\d+) (\d+)$", vm.console_text, re.MULTILINE)
    assert found is not None, vm.console_text
    return int(found[1]) - layout["mp_builtin_print_obj"], int(found[2])


def test_each_boot_has_a_place_of_its_own(boot: Boot, guest: Path, layout: Layout) -> None:
    """Image and heap go together; their distance is that of the physical addresses."""
    found = [places(run(boot, guest, layout), layout) for _ in range(4)]
    offsets = {offset for offset, _ in found}
    assert len(offsets) == 4, "two boots at one place: once in 30 million"
    assert all(offset % STEP == 0 and LEAST <= offset < MOST for offset in offsets)
    assert len({heap - offset for offset, heap in found}) == 1


def test_a_debugger_may_have_it_as_it_was_linked(boot: Boot, guest: Path, layout: Layout) -> None:
    vm = run(boot, guest, layout, str(layout["link_rodata"]), switches=("floe.aslr=0",))
    offset, heap = places(vm, layout)
    assert offset == 0 and heap < LEAST and vm.console_text.endswith("done\n")


def test_the_option_for_it(guest: Path, accel: str) -> None:
    text = {floe("run", "--no-aslr", "--accel", accel, guest, "--", "0").stdout for _ in range(2)}
    assert len(text) == 1
    assert len({floe("run", "--accel", accel, guest, "--", "0").stdout for _ in range(2)}) == 2


@pytest.mark.parametrize("place", ["link_text", "link_rodata", "link_data", "boot_stack_bottom", "monitor_pvclock"])
def test_what_ring_3_has_is_at_the_place_and_not_where_it_was_linked(
    boot: Boot, guest: Path, layout: Layout, place: str
) -> None:
    vm = run(boot, guest, layout, f"+{layout[place]}", str(layout[place]))
    assert re.search(rf"^read \d+\n+PANIC: forbidden read, .* cr2={layout[place]:#x} ", vm.console_text, re.MULTILINE)


@pytest.mark.parametrize("place", ["link_start", "monitor_gdt", "monitor_idt", "link_end"])
def test_the_monitor_stays_and_is_nowhere_else(boot: Boot, guest: Path, layout: Layout, place: str) -> None:
    for word in (f"+{layout[place]}", str(layout[place])):
        vm = run(boot, guest, layout, word)
        at = layout[place] + (places(vm, layout)[0] if word[0] == "+" else 0)
        assert "PANIC: forbidden read, vector 14 " in vm.console_text
        assert f" cr2={at:#x} " in vm.console_text


def test_a_panic_tells_the_place_and_is_explained(guest: Path, accel: str, layout: Layout) -> None:
    """Which function it was is found in the ELF."""
    done = floe("run", "--accel", accel, guest, "--", "0", "8")
    assert done.returncode == 120
    told = re.search(r" rip=0x([0-9a-f]+) .* offset=0x([0-9a-f]+)$", done.stdout + done.stderr, re.MULTILINE)
    assert told is not None, done.stdout + done.stderr
    rip, offset = (int(number, 16) for number in told.groups())
    assert offset % STEP == 0 and layout["link_text"] <= rip - offset < layout["link_rodata"]
    assert re.search(rf"\w+\+0x[0-9a-f]+ \(rip {rip:#x}\)", done.stderr), done.stderr
