# SPDX-License-Identifier: MIT
"""floe.spec.handover: --secret and --env-file, from their words to what QEMU and the guest get. Errors: tests/errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from floe.errors import ConfigError, UsageError
from floe.qemu import words as qemu_words
from floe.qemu.commandline import Endpoints, command_line
from floe.spec import handover
from floe.spec.vmspec import VmSpec
from floe.testing import Boot
from floe.vm.vm import Vm
from tests.support.command import floe

UUID = "01234567-89ab-cdef-0123-456789abcdef"
SCRIPT = """
import os, machine, time, floe
print("uuid", machine.unique_id().hex())
print("env", [os.getenv(name) for name in ("A", "B", "C", "D", "E")])
print("secrets", sorted(floe.secrets()))
for name in ("pw", "empty", "large"):
    value = floe.secret(name)
    print("secret", name, len(value), sum(value[i] * (i % 251 + 1) for i in range(0, len(value), 97)))
for name in ("missing", "", "x" * 200, "p", "pw\\0", "../env/0"):
    try:
        floe.secret(name)
    except KeyError as e:
        print("KeyError", e)
if machine.reset_cause() == machine.PWRON_RESET and os.getenv("RESET"):
    machine.reset()
"""


def checksum(data: bytes) -> int:
    return sum(data[i] * (i % 251 + 1) for i in range(0, len(data), 97))


def test_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_bytes(
        b"\xef\xbb\xbf# a comment\r\n\r\n  \n A=1\r\nB = no, a blank\nB2==x= \nC='quoted' # kept\nGIVEN\nNOT_GIVEN\n"
        b"dotted.name=\xc3\xa4\nEMPTY=\nA=2"
    )
    monkeypatch.setenv("GIVEN", "from here")
    monkeypatch.delenv("NOT_GIVEN", raising=False)
    with pytest.raises(ConfigError, match=re.escape(f"{file}:5: 'B ' is no name: it holds a blank")):
        handover.read_env_files([file])
    file.write_bytes(file.read_bytes().replace(b"B = no, a blank\n", b""))
    (values,) = handover.read_env_files([file])
    assert values == {
        "A": "2",
        "B2": "=x= ",
        "C": "'quoted' # kept",
        "GIVEN": "from here",
        "dotted.name": "ä",
        "EMPTY": "",
    }


def test_env_files_have_a_limit(tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.write_text("A=" + "x" * (handover.MAX_ENV // 2))
    assert len(handover.read_env_files([half])) == 1
    with pytest.raises(UsageError, match=f"take 655.. bytes; there is room for {handover.MAX_ENV}"):
        handover.read_env_files([half, half])
    with pytest.raises(UsageError, match="10 files for --env-file; there are at most 9"):
        handover.parse_env_files([str(half)] * 10)


def test_secrets_have_limits(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(handover.MAX_SECRET))
    assert handover.parse_secret(f"a={large}") == ("a", large)
    with pytest.raises(UsageError, match="17 secrets; a guest has at most 16"):
        handover.parse_secrets([f"s{i}={large}" for i in range(17)], ())
    large.write_bytes(bytes(handover.MAX_SECRET + 1))
    with pytest.raises(UsageError, match=r"--secret a: .*large has 1048577 bytes; a secret has at most 1048576"):
        handover.parse_secret(f"a={large}")


def test_a_pipe_is_read_once_and_stays(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe")
    os.close(writer)
    secrets = (handover.parse_secret(f"a=/dev/fd/{reader}"),)
    os.close(reader)
    for _ in range(2):
        assert [blob.content for blob in handover.read(secrets, (), {})] == [b"from a pipe"]


def test_content_is_shown_nowhere(tmp_path: Path) -> None:
    """Neither in QEMU's words nor in what is printed of the objects that travel."""
    (tmp_path / "pw").write_text("hunter2")
    (tmp_path / "env").write_text("PASSWORD=swordfish\n")
    secrets, files = (
        (handover.parse_secret(f"pw={tmp_path / 'pw'}"),),
        handover.parse_env_files([str(tmp_path / "env")]),
    )
    spec = VmSpec(elf=Path("x.elf"), secrets=secrets, env_files=files, asked=(("WORD", "marlin"),))
    blobs = handover.read(secrets, files, dict(spec.asked))
    with qemu_words.blobs_in_memory(blobs) as (words, _):
        shown = repr(command_line(spec, Endpoints.for_paste(), words)) + repr(spec) + repr(blobs)
    assert "hunter2" not in shown
    assert "swordfish" not in shown and "marlin" not in shown
    assert "env.WORD=marlin" in command_line(spec, Endpoints.for_paste())[-1]  # which a person is to type
    assert re.search(r"-append [^-]*floe.env=2\b", " ".join(command_line(spec, Endpoints.for_paste(), words)))
    assert f"name=opt/floe/secret/pw,file={tmp_path}/pw" in command_line(spec, Endpoints.for_paste())


@pytest.mark.parametrize(
    "names, words",
    [
        (["env/0", "env/1"], "variables"),
        (["secret/token"], "the secret token"),
        (["secret/token", "env/0", "secret/key"], "variables and the secrets key, token"),
        ([], ""),
    ],
)
def test_what_is_handed_over_has_words(names: list[str], words: str) -> None:
    assert handover.described(names) == words


def test_there_is_room_for_them_beside_all_env_files(tmp_path: Path) -> None:
    for n in range(handover.MAX_ENV_FILES):
        (tmp_path / str(n)).write_text(f"A={n}\nN{n}=1\n")
    files = handover.parse_env_files([str(tmp_path / str(n)) for n in range(handover.MAX_ENV_FILES)])
    blobs = handover.read((), files, {"A": "asked"})
    assert handover.env_blobs(files, {"A": "asked"}) == len(blobs) == handover.MAX_ENV_FILES
    assert blobs[-1].content == b"A=asked\0N8=1\0"
    with pytest.raises(UsageError, match="take 65539 bytes; there is room for 65536") as error:
        handover.read((), (), {"A": "x" * handover.MAX_ENV})
    assert error.value.hint.startswith("--secret NAME=FILE for what is large: up to 1024 KiB each")


@pytest.fixture
def given(tmp_path: Path) -> dict[str, bytes]:
    files = {"pw": b"hunter2", "empty": b"", "large": os.urandom(handover.MAX_SECRET)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "env1").write_text("A=file one\nB=file one\nC=file one\nD=  blanks kept \n")
    (tmp_path / "env2").write_text("B=file two\n")
    (tmp_path / "main.py").write_text(SCRIPT)
    (tmp_path / "image.toml").write_text('name = "given"\nsecrets = ["pw", "large"]\n[env]\nA = "image"\nE = "image"\n')
    return files


def arguments(folder: Path, files: dict[str, bytes]) -> list[str]:
    words = ["--env-file", f"{folder}/env1", "--env-file", f"{folder}/env2", "--env", "C=command line", "--uuid", UUID]
    for name in files:
        words += ["--secret", f"{name}={folder / name}"]
    return words


def expected(files: dict[str, bytes]) -> list[str]:
    lines = [f"uuid {UUID.replace('-', '')}"]
    lines += ["env ['file one', 'file two', 'command line', '  blanks kept ', 'image']"]
    lines += ["secrets ['empty', 'large', 'pw']"]
    return lines + [f"secret {name} {len(data)} {checksum(data)}" for name, data in files.items()]


@pytest.mark.parametrize("machine", ["microvm", "q35", "pc"])
def test_the_guest_gets_them(accel: str, machine: str, tmp_path: Path, given: dict[str, bytes]) -> None:
    flags = ["--accel", accel, "--machine", machine, "--timeout", "60", *arguments(tmp_path, given)]
    done = floe("run", *flags, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:6] == expected(given)
    assert lines[6] == "KeyError no secret 'missing': floe run --secret missing=FILE"
    assert [line.split()[0] for line in lines[6:]] == ["KeyError"] * 6
    assert "ran out" not in done.stdout


def test_what_is_pasted_does_the_same(tmp_path: Path, given: dict[str, bytes]) -> None:
    done = floe("run", "--dry-run", *arguments(tmp_path, given), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout
    import subprocess

    ran = subprocess.run(["sh", "-c", done.stdout], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout.splitlines()[:6] == expected(given)


def test_they_outlive_a_reset_and_their_files(tmp_path: Path, given: dict[str, bytes]) -> None:
    from floe.spec.runoptions import RunOptions
    from floe.vm.plan import plan

    options = RunOptions(
        secrets=tuple(f"{name}={tmp_path / name}" for name in given), env=("RESET=1", "E=sword\nfish"), accel="tcg"
    )
    spec, _ = plan(tmp_path, options)
    with Vm(spec) as vm:
        for name in given:
            (tmp_path / name).unlink()
        inherited = Path(f"/proc/{vm.pid}/cmdline").read_bytes()
        assert b"hunter2" not in inherited and b"sword" not in inherited
        assert vm.wait(deadline_s=60) == 0
        assert vm.resets == 1
        assert vm.console_text.count(r"'image', None, None, None, 'sword\nfish']") == 2
        assert vm.console_text.count(f"secret pw 7 {checksum(b'hunter2')}\n") == 2


def test_a_name_has_one_identity() -> None:
    from floe.vm.plan import identity

    assert identity("web") == identity("web") != identity("web2")


def test_they_outlive_a_soft_reset(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2")
    (tmp_path / "env").write_text("A=file\nB=file\n")
    script = tmp_path / "app.py"
    script.write_text("import os, floe\nprint('given', floe.secret('pw'), os.getenv('A'), os.getenv('B'))\n")
    vm = boot(
        script,
        deadline_s=60,
        dev=True,
        secrets={"pw": tmp_path / "pw"},
        env_files=[tmp_path / "env"],
        env={"B": "line"},
    )
    vm.expect_exact(">>> ")
    vm.send(b"import os\ros.putenv('A', 'changed')\r\x04")
    vm.expect_exact("soft reboot")
    vm.expect_exact("given b'hunter2' file line")
    assert vm.console_text.count("given b'hunter2' file line") == 2
