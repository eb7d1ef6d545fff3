# SPDX-License-Identifier: MIT
"""What a container has of this machine's QEMU, and what is said where it lacks something."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from floe.errors import BuildError, NotFound
from floe.oci import qemufiles
from floe.qemu import commandline


def test_it_is_all_there() -> None:
    files = {file.path: file for file in qemufiles.needed()}
    assert files[qemufiles.program()].mode == 0o755
    assert any(Path(path).name.startswith("libc.so") for path in files)
    assert any(Path(path).name.startswith("ld-linux") for path in files)
    assert any(path.endswith(f"/{commandline.FIRMWARE}") for path in files)
    assert all(Path(path).is_absolute() and ".." not in path for path in files)
    for path, file in files.items():
        if file.link or path.startswith("/usr/share/doc/"):
            continue
        assert isinstance(file.content, Path) and file.content.is_file()
        assert str(Path(path).parent.resolve()) == str(Path(path).parent), "a link on the way is not in the container"


def test_licences_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/usr/bin/dpkg-query").exists():
        pytest.skip("SKIP: no dpkg-query")
    shipped = [file.path for file in qemufiles.needed() if file.path.endswith("/copyright")]
    assert len(shipped) > 10
    assert any("libc6" in path for path in shipped)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(commandline, "find_qemu", lambda: "/usr/bin/qemu-system-x86_64")
    assert [file.path for file in qemufiles.needed() if file.path.endswith("/copyright")] == []


def script(folder: Path, text: str) -> Path:
    path = folder / "qemu-system-x86_64"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_script_that_stands_for_qemu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(commandline.CHOICE, str(script(tmp_path, "exit 0")))
    with pytest.raises(BuildError, match="no program that a container could have") as caught:
        qemufiles.needed()
    assert "FLOE_QEMU" in caught.value.hint


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc = ["gcc", "-o"]
    (tmp_path / "lib.c").write_text("int f(void) { return 1; }\n")
    (tmp_path / "main.c").write_text("int f(void);\nint main(void) { return f(); }\n")
    subprocess.run([*gcc, "libgone.so", "-shared", "-fpic", "lib.c"], cwd=tmp_path, check=True, timeout=60)
    subprocess.run([*gcc, "qemu", "main.c", "-L.", "-lgone"], cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "libgone.so").unlink()
    monkeypatch.setenv(commandline.CHOICE, str(tmp_path / "qemu"))
    with pytest.raises(BuildError, match=r"--list .* failed") as caught:
        qemufiles.needed()
    assert "libgone.so" in caught.value.evidence


def test_without_firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commandline, "FIRMWARE", "none.rom")
    with pytest.raises(NotFound, match=r"QEMU has no none\.rom"):
        qemufiles.needed()
