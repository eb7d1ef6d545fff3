# SPDX-License-Identifier: MIT
"""VMs that were started with --verify: what was verified boots, also later, and floe sends nothing else into them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.store import vmfolder
from tests.support.command import failure, floe
from tests.support.vms import Vms, log, until

SERVICE = """
import asyncio
async def main():
    print("up")
    await asyncio.sleep(100000)
asyncio.run(main())
"""


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Vms(tmp_path, monkeypatch) as all_of_them:
        yield all_of_them


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    """A signed dev image, and the public key."""
    key, app, elf = tmp_path / "key", tmp_path / "app.py", tmp_path / "app.elf"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
    app.write_text(SERVICE)
    done = floe("build", "--dev", "--sign", key, "-o", elf, app)
    assert done.returncode == 0, done.stderr
    return elf, tmp_path / "key.pub"


def test_nothing_unsigned_is_sent_into_it(vms: Vms, signed: tuple[Path, Path], tmp_path: Path) -> None:
    elf, public = signed
    vms.run("--name", "a", "--verify", public, elf)
    until(lambda: "up" in log("a"), "the script")
    verbs = (["swap", "a", "app", elf.with_suffix(".py")], ["exec", "a", "1"], ["cp", elf, "a:/x"])
    for verb in verbs:
        cause, _, hint = failure(*verb, code=125)
        assert cause == "a was started with --verify: only what was signed runs in it"
        assert hint == f"floe run --detach {elf}, without --verify"
    plan = vmfolder.find("a").plan
    assert plan is not None
    assert len(plan.verified) == 64
    assert "--verify" in vmfolder.find("a").spec.command


def test_it_starts_again_with_what_was_verified(vms: Vms, signed: tuple[Path, Path]) -> None:
    elf, public = signed
    vms.run("--name", "a", "--verify", public, elf)
    until(lambda: "up" in log("a"), "the script")
    elf.write_bytes(b"another")  # floe has its own copy
    assert floe("stop", "a").returncode == 0
    done = floe("start", "a")
    assert done.returncode == 0, done.stderr
    assert floe("stop", "a").returncode == 0
    kept = vmfolder.find("a").image
    other = floe("build", "--dev", "-o", kept, elf.with_suffix(".py").with_name("other.py"))
    assert other.returncode == 127
    elf.with_name("other.py").write_text("print('another')\n")
    assert floe("build", "--dev", "-o", kept, elf.with_name("other.py")).returncode == 0
    cause, _, _ = failure("start", "a", code=126)
    assert cause == f"a cannot be started: its image was changed after it was verified: {kept}"


def test_a_restart_looks_again(vms: Vms, signed: tuple[Path, Path]) -> None:
    elf, public = signed
    vms.run("--name", "a", "--restart", "always", "--verify", public, elf)
    until(lambda: "up" in log("a"), "the script")
    folder = vmfolder.find("a")
    end_vm(folder)
    until(lambda: log("a").count("up\n") == 2, "its restart")
    folder.image.unlink()
    folder.image.write_bytes(b"another")
    end_vm(folder)
    until(lambda: folder.end is not None, "its end")
    assert folder.end is not None
    assert (folder.end.cause, folder.end.code) == ("failed", None)
    assert folder.end.problem == f"its image was changed after it was verified: {folder.image}"


def end_vm(folder: vmfolder.Folder) -> None:
    process = folder.vm
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)


def test_it_runs_at_once(signed: tuple[Path, Path]) -> None:
    """In the foreground, where QEMU boots what floe alone has in memory."""
    elf, public = signed
    done = floe("run", "--timeout", "2", "--verify", public, elf)
    assert (done.returncode, done.stdout) == (124, "up\n"), done.stderr


def test_a_changed_image_does_not_boot(signed: tuple[Path, Path]) -> None:
    elf, public = signed
    raw = bytearray(elf.read_bytes())
    raw[len(raw) // 2] ^= 1
    elf.write_bytes(raw)
    cause, _, hint = failure("run", "--verify", public, elf, code=126)
    assert cause == f"{elf} was changed after it was signed"
    assert hint.startswith("floe build --sign KEY")


def test_what_is_to_be_pasted_names_the_file(signed: tuple[Path, Path]) -> None:
    """And not the copy of the process that verified it."""
    elf, public = signed
    done = floe("run", "--dry-run", "--json", "--verify", public, elf)
    assert done.returncode == 0, done.stderr
    assert f'"{elf}"' in json.dumps(json.loads(done.stdout))
