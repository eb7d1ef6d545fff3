# SPDX-License-Identifier: MIT
"""tools/floe/bench/guests.py: the bare guest is one, accelerators are those of the machine, a panic is no result."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from floe.bench import guests
from floe.bench.experiment import LeftOut
from floe.errors import VmError
from floe.qemu import accel as accelerators


def no_kvm(wanted: str) -> tuple[str, str]:
    return "tcg", "KVM is not available: /dev/kvm"


def test_the_bare_guest_says_its_letter_and_rests(tmp_path: Path, accel: str) -> None:
    with guests.booted(guests.spec(guests.bare_elf(tmp_path / "bare.elf"), accel=accel)) as vm:
        guests.expect(vm, "A", 60)
        assert vm.console_text == "A"
        assert vm.outcome is None


def test_the_bare_guest_is_an_elf_with_a_pvh_note(tmp_path: Path) -> None:
    with guests.bare_elf(tmp_path / "bare.elf").open("rb") as file:
        elf = ELFFile(file)
        kinds = [segment["p_type"] for segment in elf.iter_segments()]
        (note,) = next(elf.iter_segments("PT_NOTE")).iter_notes()
        assert kinds == ["PT_NOTE", "PT_LOAD"]
        assert (note["n_name"], note["n_descsz"]) == ("Xen", 4)
        assert int.from_bytes(note["n_descdata"], "little") == elf["e_entry"]


def test_where_there_is_no_kvm_it_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "choose", no_kvm)
    assert guests.usable_accels("auto") == ("tcg",)
    assert guests.accels_left_out(("tcg",), "Floe, {}") == (LeftOut("Floe, KVM", "KVM is not available: /dev/kvm"),)


def test_an_accelerator_that_was_not_asked_for_is_left_out() -> None:
    assert guests.usable_accels("tcg") == ("tcg",)
    assert [one.name for one in guests.accels_left_out(("tcg",), "Floe, {}")] == ["Floe, KVM"]
    assert LeftOut("TCG", "--accel names another") in guests.accels_left_out((), "{}")


def test_what_the_guest_does_not_say_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with guests.booted(guests.spec(guests.bare_elf(tmp_path / "bare.elf"), accel="tcg")) as vm:
        guests.expect(vm, "A", 60)
        with pytest.raises(VmError, match="did not say 'B'") as caught:
            guests.expect(vm, "B", 0.2)
    assert caught.value.evidence == "A"


def test_a_user_can_have_the_same_vm() -> None:
    spec = guests.spec(Path("x.elf"), accel="tcg", ports=[80], memory="8M")
    words = guests.command_of(spec, Path("a b/app.py")).split(" ", 2)
    assert words == ["floe", "run", "--accel tcg --machine microvm --memory 8192K -p 0:80 'a b/app.py'"]
    spec = guests.spec(Path("x.elf"), ports=["53/udp"], env=(("NAME", "a b"),))
    words = shlex.split(guests.command_of(spec, Path("app.py"), "--net", "tap:tap0"))
    assert words[-7:] == ["-p", "0:53/udp", "-e", "NAME=a b", "--net", "tap:tap0", "app.py"]
