# SPDX-License-Identifier: MIT
"""`floe doctor`: on this machine, and on machines that lack something, made with a PATH of their own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from floe.build import port_archive
from floe.cli import doctor
from floe.errors import VmError
from floe.qemu import accel, ring3
from tests.support.command import floe

TOOLS = ("gcc", "as", "ld", "make", "apt-get", "qemu-system-x86_64")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with links to every tool; a test removes or replaces some and makes it the PATH."""
    monkeypatch.delenv("FLOE_QEMU", raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        if path := shutil.which(name):
            (folder / name).symlink_to(path)
    return folder


def findings(path: Path) -> tuple[int, dict[str, dict[str, object]]]:
    done = floe("doctor", "--json", env={**os.environ, "PATH": str(path)})
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0)
    return done.returncode, {f["name"]: f for f in report["findings"]}


def test_this_machine_has_what_the_tests_need() -> None:
    done = floe("doctor")
    assert done.returncode == 0, done.stdout
    assert "LACKS" not in done.stdout
    for name in ("python", "gcc", "qemu", "qemu machines", "qemu devices", "firmware", "kvm", "port archive"):
        assert any(line[8:].startswith(name) for line in done.stdout.splitlines()), name


def test_what_boot_disks_take_is_optional(tools: Path) -> None:
    """And named by Debian's packages, each once."""
    code, found = findings(tools)
    disks = found["boot disks"]
    assert (code, disks["ok"], disks["needed"]) == (0, False, False)
    assert str(disks["mend"]).endswith(" grub-common mtools qemu-utils xorriso")


@pytest.mark.parametrize(
    ("tool", "finding", "package"),
    [
        ("gcc", "gcc", "gcc"),
        ("ld", "ld", "binutils"),
        ("make", "make", "make"),
        ("qemu-system-x86_64", "qemu", "qemu-system-x86"),
    ],
)
def test_a_tool_is_missing(tools: Path, tool: str, finding: str, package: str) -> None:
    (tools / tool).unlink()
    code, found = findings(tools)
    assert code == 127
    assert not found[finding]["ok"]
    assert str(found[finding]["mend"]).startswith("sudo apt-get update && sudo apt-get install")
    assert str(found[finding]["mend"]).endswith(f" {package}")


def test_another_qemu_by_name(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLOE_QEMU is what is looked at, with a blank in its path; PATH has none."""
    other = tmp_path / "a folder" / "qemu"
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\nexec {shutil.which("qemu-system-x86_64")} "$@"\n')
    other.chmod(0o755)
    (tools / "qemu-system-x86_64").unlink()
    (tools / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("FLOE_QEMU", str(other))
    code, found = findings(tools)
    assert code == 0
    assert str(found["qemu"]["detail"]).endswith(f", {other} (by FLOE_QEMU)")
    assert found["firmware"]["ok"]
    other.unlink()
    code, found = findings(tools)
    assert code == 127
    assert found["qemu"]["detail"] == f"FLOE_QEMU={other}: there is no such program"


def test_without_apt_it_still_works(tools: Path) -> None:
    (tools / "apt-get").unlink()
    code, found = findings(tools)
    assert code == 0
    assert not found["apt source"]["ok"]
    assert "release files" in str(found["apt source"]["detail"])


def test_a_qemu_that_is_too_old_and_offers_little(tools: Path) -> None:
    (tools / "qemu-system-x86_64").unlink()
    (tools / "qemu-system-x86_64").write_text(
        '#!/bin/sh\ncase "$*" in\n--version) echo "QEMU emulator version 5.2.0";;\n'
        '"-machine help") echo "pc  Standard PC";;\n"-device help") echo \'name "virtserialport"\';;\n'
        "*) echo user;;\nesac\n"
    )
    (tools / "qemu-system-x86_64").chmod(0o755)
    code, found = findings(tools)
    assert code == 127
    assert found["qemu"]["detail"] == f"version 5.2.0, older than 7.2, {tools}/qemu-system-x86_64"
    assert found["qemu machines"]["detail"] == "not offered: microvm, q35"
    assert "virtio-net-device" in str(found["qemu devices"]["detail"])
    assert found["qemu networks"]["detail"] == "not offered: tap, stream"
    assert not found["firmware"]["ok"]


def test_text_names_the_command_that_mends(tools: Path) -> None:
    (tools / "make").unlink()
    lines = floe("doctor", env={**os.environ, "PATH": str(tools)}).stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("LACKS   make"))
    assert lines[at + 1].strip().startswith("try: sudo apt-get update")


def test_text_names_each_command_of_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise VmError("KVM not permitted", hint="let somebody in:\nsudo one\nsudo two")

    monkeypatch.setattr(accel, "check_kvm", refuse)
    doctor.command.main([], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("note    kvm"))
    assert [line.strip() for line in lines[at + 1 : at + 4]] == ["try: let somebody in:", "sudo one", "sudo two"]


def test_whether_ring_3_is_a_boundary_is_said() -> None:
    """By the doctor and by run -v, as the probe of this very KVM found."""
    try:
        accel.check_kvm()
    except VmError as e:
        pytest.skip(f"SKIP: no KVM here: {e.message}")
    refused = ring3.refuses_syscall(accel.KVM_DEVICE)
    assert refused is not None
    found = {f["name"]: f for f in json.loads(floe("doctor", "--json").stdout)["findings"]}
    assert (found["ring 3"]["ok"], found["ring 3"]["needed"]) == (refused, False)
    ran = floe("run", "-v", "--accel", "kvm", "images/hello")
    assert ran.returncode == 0
    assert (ring3.NO_BOUNDARY in ran.stderr, ring3.NO_BOUNDARY in str(found["ring 3"]["detail"])) == (not refused,) * 2


@pytest.mark.parametrize("device", ["/nonexistent", "/dev/null"])
def test_a_probe_that_cannot_be_made_knows_nothing(device: str) -> None:
    assert ring3.refuses_syscall(Path(device)) is None


def test_a_probe_runs_nothing_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("floe", "ctypes", "struct"):
        (tmp_path / f"{name}.py").write_text('open("RAN_ON_HOST", "w").close()\n')
    monkeypatch.chdir(tmp_path)
    ring3.refuses_syscall(Path("/dev/kvm"))
    assert not (tmp_path / "RAN_ON_HOST").exists()


@pytest.mark.parametrize("name", ["file/floe", "only read/floe"])
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """One that is not there yet, below a file or in a file system that takes none."""
    (tmp_path / "file").touch()
    (tmp_path / "only read").symlink_to("/proc/sys/kernel")
    monkeypatch.setattr(port_archive, "CACHE", tmp_path / name)
    found = {f.name: f for f in doctor.examine()}["cache"]
    assert found.needed and not found.ok
    assert found.detail.startswith(f"cannot write to {tmp_path / name}, where images are built: ")
    assert "install.md" in found.mend
    monkeypatch.setattr(port_archive, "CACHE", tmp_path / "new" / "floe")
    assert {f.name: f for f in doctor.examine()}["cache"].ok
    assert not (tmp_path / "new").exists()


def test_without_ssh_keygen(tools: Path) -> None:
    """Nothing needs it but signatures."""
    code, found = findings(tools)
    assert code == 0
    assert not found["signatures"]["ok"]
    assert found["signatures"]["detail"] == "no ssh-keygen: for --sign and --verify"
    assert str(found["signatures"]["mend"]).endswith(" openssh-client")
    (tools / "ssh-keygen").symlink_to("/bin/true")
    assert findings(tools)[1]["signatures"]["ok"]
