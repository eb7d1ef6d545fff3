# SPDX-License-Identifier: MIT
"""What can go wrong between an image and its VM: the words, the hint, the exit code; QEMU is real."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.cli import main as cli
from floe.errors import VmExitedEarly
from floe.qemu import accel
from floe.spec.network import Card
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm
from tests.support import tiny
from tests.support.command import FLOE, failure, floe
from tests.support.nobody import error_for_nobody

SERVER = "import socket\ns = socket.socket()\nprint('up')\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("print('ran')\n")
    return path


@pytest.fixture
def server(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return path


# ---- flags -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "cause", "hint"),
    [
        ("--memory lots", "--memory lots: not a size", "--memory 32M"),
        ("--memory 32", "--memory 32: not a size", "--memory 32M"),
        ("--memory 1M", "--memory 1M: less than 2M", "--memory 2M"),
        ("--memory 5001K", "--memory 5001K: not a multiple of 4K", "--memory 5000K"),
        ("-p 80", "-p 80: not a port forward", "-p [ADDR:]HOST:GUEST[/udp|/spread]"),
        ("-p [::1:8080:80", "-p [::1:8080:80: not a port forward", "-p [ADDR:]HOST:GUEST[/udp|/spread]"),
        ("-p [::g]:8080:80", "-p [::g]:8080:80: [::g] is not an IPv6 address", "-p [ADDR:]HOST:GUEST[/udp|/spread]"),
        (
            "-p [fe80::1]:8080:80",
            "-p [fe80::1]:8080:80: [fe80::1] is an address of one link, and lacks its network card",
            "-p [fe80::1%CARD]:8080:80",
        ),
        ("-p 8080:80", "-p 8080:80: app has no network: nothing in it imports network or socket", ""),
        ("--net user", "--net user: app has no network: nothing in it imports network or socket", ""),
        ("--env 1X=2", "--env 1X=2: not a name of an environment variable", "--env NAME=VALUE"),
        ("--env FLOE_NOT_SET", "--env FLOE_NOT_SET: this shell has no such variable", "--env FLOE_NOT_SET=VALUE"),
        ("--secret x", "--secret x: no file is named", "--secret NAME=FILE"),
        ("--secret =x", "--secret =x: '' is no name of a secret", "letters, digits"),
        ("--secret a/b=x", "--secret a/b=x: 'a/b' is no name of a secret", "letters, digits"),
        ("--secret a=/", "--secret a: / is a folder", ""),
        ("--secret a=/dev/zero", "--secret a: /dev/zero has more than 1048576 bytes", ""),
        ("--secret a=/dev/null --secret a=/dev/null", "--secret a is given twice", ""),
        ("--env-file /", "--env-file /: / is a folder", ""),
        ("--uuid 12", "--uuid 12: not a UUID", "--uuid "),
        ("--accel hax", "Invalid value for '--accel'", "floe run --help"),
        ("--machine virt", "Invalid value for '--machine'", "floe run --help"),
        ("--timeout 0", "Invalid value for '--timeout'", "floe run --help"),
        ("--frobnicate", "No such option", "floe run --help"),
        ("--name a", "--name is for a detached VM", "floe run --detach --name a"),
        ("--detach --timeout 3", "--timeout: a detached VM is ended by `floe stop`", ""),
        ("--detach --name a/b", "--name a/b: not a name of a VM", "letters, digits"),
    ],
)
def test_flags(app: Path, flags: str, cause: str, hint: str) -> None:
    said, _, proposed = failure("run", *flags.split(), app, code=125)
    assert cause in said
    assert proposed.startswith(hint)


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"A=1\n=2\n", 2, "no name before '='"),
        (b"export A=1\n", 1, "'export A' is no name: it holds a blank"),
        (b"\nA=\xff\n", 2, "not UTF-8: invalid start byte at byte 2 of the line"),
        (b"A=1\nB=\0\n", 2, "a NUL character"),
    ],
)
def test_env_file(app: Path, tmp_path: Path, content: bytes, line: int, problem: str) -> None:
    file = tmp_path / "bad.env"
    file.write_bytes(content)
    assert failure("run", "--env-file", file, app, code=125)[0] == f"{file}:{line}: {problem}"


def test_files_that_are_not_there(app: Path) -> None:
    assert failure("run", "--secret", "a=nowhere", app, code=127)[0] == "--secret a: no such file: nowhere"
    assert failure("run", "--env-file", "nowhere", app, code=127)[0] == "--env-file nowhere: no such file: nowhere"


def test_secrets_that_the_image_needs(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print('ran')\n")
    (tmp_path / "image.toml").write_text('name = "needs"\nsecrets = ["cert", "key"]\n')
    cause, _, hint = failure("run", "--secret", "cert=/dev/null", tmp_path, code=125)
    assert cause == "the image needs the secret key"
    assert hint.strip() == "--secret key=FILE"
    elf = tmp_path / "needs.elf"
    assert floe("build", tmp_path, "-o", elf).returncode == 0
    assert failure("run", elf, code=125)[0] == "the image needs the secrets cert, key"


def test_ports_without_a_card_of_kind_user(server: Path, tmp_path: Path) -> None:
    cause, _, hint = failure("run", "--net", "none", "-p", "0:80", server, code=125)
    assert cause.endswith("no card to forward ports to: of kind user, or under Xen bridge")
    assert hint.startswith("--net user, or without -p")


def test_what_only_a_user_network_is_held_to(server: Path) -> None:
    """--allow is never silently without effect."""
    options = ("run", "--allow", "192.0.2.1:80")
    cause, _, hint = failure(*options, "--net", "user", "--net", "tap:floe-none", server, code=125)
    assert cause == "--allow: not with --net tap:floe-none, whose frames leave without being looked at"
    assert hint.startswith("--net user")
    done = floe(*options, "--dry-run", server)
    assert "floe: --allow is not in this command" in done.stderr


def test_ports_of_the_image_mean_nothing_on_a_tap(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SERVER)
    (tmp_path / "image.toml").write_text('name = "served"\nports = ["8080:80", "53:53/udp"]\n')
    done = floe("run", "--dry-run", "--net", "tap:floe-none", tmp_path)
    assert done.returncode == 0
    assert "floe: ports 8080:80, 53:53/udp of image.toml: not forwarded, no card is of kind user\n" in done.stderr
    assert "hostfwd" not in done.stdout


def test_variables_that_do_not_fit(app: Path, tmp_path: Path) -> None:
    file = tmp_path / "vars"
    file.write_text("A=" + "x" * 40_000)
    cause, _, hint = failure("run", app, "--env-file", file, "--env-file", file, code=125)
    assert re.search(r"--env-file take 80\d+ bytes; there is room for 65536", cause)
    wanted = "--secret NAME=FILE for what is large: up to 1024 KiB each, read by floe.secret()"
    assert hint.strip() == wanted
    file.write_text("A=" + "x" * 70_000)
    cause, _, hint = failure("run", app, "--env-file", file, code=125)
    assert (cause, hint.strip()) == (f"--env-file: {file} has more than 65536 bytes", wanted)


def test_arguments_that_do_not_fit(app: Path) -> None:
    cause, _, hint = failure("run", app, "--", "x" * 5000, code=125)
    assert re.search(r"take 500\d bytes; there is room for \d+", cause)
    assert hint.strip() == "--env-file FILE takes 64 KiB of variables, --secret NAME=FILE any file"


# ---- files -------------------------------------------------------------------------------------------


def test_no_such_app() -> None:
    cause, _, hint = failure("run", "nowhere.py", code=127)
    assert cause == "no such file: nowhere.py"
    assert hint.startswith("APP is a .py file")


def test_no_such_elf() -> None:
    assert failure("run", "nowhere.elf", code=127)[0] == "no such file: nowhere.elf"


def test_an_elf_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.elf").write_text("not an ELF")
    cause, _, _ = failure("run", tmp_path / "x.elf", code=126)
    assert "is not an image that floe boots: it is no ELF file" in cause


def test_another_program_s_elf() -> None:
    program = Path(shutil.which("true") or "/bin/true").resolve()
    assert "is not an image that floe boots" in failure("run", program, code=126)[0]


def test_an_image_with_one_byte_changed(tmp_path: Path) -> None:
    elf = tmp_path / "hello.elf"
    assert floe("build", "images/hello", "-o", elf).returncode == 0
    raw = bytearray(elf.read_bytes())
    raw[len(raw) // 2] ^= 1
    elf.write_bytes(raw)
    assert "its bytes are not those that floe linked" in failure("run", elf, code=126)[0]


def test_dev_of_a_sealed_elf(tmp_path: Path) -> None:
    elf = tmp_path / "hello.elf"
    assert floe("build", "images/hello", "-o", elf).returncode == 0
    assert failure("run", "--dev", elf, code=125)[0].endswith("hello.elf is a sealed image")


def test_memory_that_does_not_hold_the_image(tmp_path: Path) -> None:
    """Said before QEMU starts: it would load what fits and let the guest find out."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "large").write_bytes(os.urandom(3 << 20))
    (tmp_path / "main.py").write_text("print('ran')\n")
    (tmp_path / "image.toml").write_text('name = "large"\n')
    cause, _, hint = failure("run", "--memory", "3M", tmp_path, code=125)
    match = re.fullmatch(r"3 MiB of memory are too little: the image reaches up to (\d\.\d) MiB", cause)
    assert match
    need = re.match(r"--memory (\d+)M at least", hint)
    assert need
    assert int(need[1]) == int(float(match[1])) + 1


# ---- the host ----------------------------------------------------------------------------------------


def test_port_in_use(server: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        cause, evidence, hint = failure("run", "-p", f"{port}:80", server, code=125)
    assert cause == f"port {port} is in use"
    assert re.fullmatch(rf"  by: \S+.* \(pid {os.getpid()}\)", evidence.rstrip())
    assert re.match(r"-p \d+:80", hint)


def test_no_tap(server: Path) -> None:
    cause, _, hint = failure("run", "--net", "tap:floe-none", server, code=125)
    assert cause == "there is no tap device floe-none"
    assert hint.startswith("sudo ip tuntap add dev floe-none mode tap")


def test_no_qemu(app: Path, tmp_path: Path) -> None:
    """A PATH that has what building needs, and no QEMU."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("gcc", "as", "ld"):
        (tools / name).symlink_to(shutil.which(name) or name)
    cause, _, hint = failure("run", app, code=127, env={**os.environ, "PATH": str(tools), "FLOE_QEMU": ""})
    assert cause == "qemu-system-x86_64 is not installed"
    assert hint.strip() == "sudo apt-get install qemu-system-x86"


def test_a_qemu_that_is_named_and_not_there(app: Path, tmp_path: Path) -> None:
    cause, _, hint = failure("run", app, code=127, env={**os.environ, "FLOE_QEMU": str(tmp_path / "none")})
    assert cause == f"FLOE_QEMU={tmp_path}/none: there is no such program"
    assert hint.startswith("FLOE_QEMU=/usr/bin/qemu-system-x86_64\n")


def test_a_qemu_that_cannot_be_run(app: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "qemu-system-x86_64").write_text("neither a script nor a program")
    (tools / "qemu-system-x86_64").chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "FLOE_QEMU": ""}
    cause, evidence, _ = failure("run", app, code=126, env=env)
    assert cause == "cannot start QEMU: Exec format error"
    assert f"command: {tools}/qemu-system-x86_64" in evidence


def test_qemu_that_refuses_shows_its_own_words(app: Path) -> None:
    """More memory than any address space has."""
    cause, evidence, hint = failure("run", "--memory", "999999G", app, code=126)
    assert re.fullmatch(r"\d+ MiB of memory for the guest cannot be had: \d+ MiB of this machine's are free", cause)
    assert "QEMU: qemu-system-x86_64: " in evidence
    assert re.search(r"memory", evidence)
    assert re.fullmatch(r"--memory \d+M, or less", hint.strip())


def test_a_port_lost_between_our_look_and_qemu_s(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        spec = VmSpec(
            tiny.build(tmp_path, tiny.HANG),
            cards=(Card(),),
            forwards=(Forward("127.0.0.1", holder.getsockname()[1], 80),),
        )
        with Vm(spec) as vm, pytest.raises(VmExitedEarly) as error:
            vm.wait(deadline_s=20)
    assert error.value.message.startswith("QEMU refuses -netdev user,id=net0,")
    assert "Could not set up host forwarding rule" in error.value.message
    assert "command: " not in error.value.evidence
    assert error.value.exit_code == 126


# ---- KVM ---------------------------------------------------------------------------------------------


def test_kvm_not_permitted(tmp_path: Path) -> None:
    """Asked by a user who may not open the device; for root, in a child that gives root up."""
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(0o600 if os.geteuid() == 0 else 0)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    code, said = error_for_nobody(lambda: accel.check_kvm(device))
    assert code == 126, said
    assert said.startswith(f"floe: KVM not permitted: no right to open {device}\n")
    assert "owner uid" in said
    assert "try: an administrator gives the device to the group kvm" in said  # the device is no group's to use
    assert re.search(r"sudo usermod -aG kvm \S+, then log in again", said)
    assert "-aG root" not in said
    assert "--accel tcg" in said


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "KVM is not available"),  # no such file
        (lambda path: path.touch(), "KVM is not usable"),  # no such ioctl
        (lambda path: path.mkdir(), "KVM is not available"),
    ],
)
def test_no_kvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    make: Callable[[Path], None], words: str,
) -> None:  # fmt: skip
    make(tmp_path / "kvm")
    monkeypatch.setattr(accel, "KVM_DEVICE", tmp_path / "kvm")
    (tmp_path / "app.py").write_text("")  # without a budget, of which another compiler's build has a note
    assert cli.run(["run", "--accel", "kvm", str(tmp_path / "app.py")]) == 126
    said = capfd.readouterr().err
    assert said.startswith(f"floe: {words}")
    assert "--accel tcg" in said
    assert accel.choose("auto")[0] == "tcg"
    assert words in accel.choose("auto")[1]


# ---- guests ------------------------------------------------------------------------------------------


def test_a_crash_is_told_from_a_reset(tmp_path: Path) -> None:
    elf = tiny.build(tmp_path, tiny.say("last words\n"), tiny.TRIPLE_FAULT)
    done = floe("run", "--accel", "tcg", elf)
    assert done.returncode == 120
    assert (
        done.stderr
        == "last words\nfloe: the guest crashed: its machine was reset without its asking (a triple fault, or an INIT)\n"
    )


def test_a_panic_is_always_shown(tmp_path: Path) -> None:
    elf = tiny.build(tmp_path, tiny.say("PANIC: nothing works\n"), tiny.leave(120))
    done = floe("run", elf)
    assert done.returncode == 120
    assert done.stderr == "PANIC: nothing works\nfloe: the guest panicked\n"
    assert done.stdout == ""


def test_out_of_memory(app: Path) -> None:
    app.write_text("x = []\nwhile True:\n    x.append(bytearray(100000))\n")
    done = floe("run", "--memory", "8M", app)
    assert done.returncode == 121
    assert "MemoryError" in done.stdout
    assert done.stderr == "floe: the guest ran out of memory; it has 8 MiB (--memory)\n"


def test_timed_out(app: Path) -> None:
    app.write_text("while True:\n    pass\n")
    cause, _, hint = failure("run", "--timeout", "0.5", app, code=124)
    assert cause == "the guest did not end within 0.5 s"
    assert hint.strip() == "a longer --timeout"


def test_qemu_killed_from_outside(tmp_path: Path) -> None:
    elf = tiny.build(tmp_path, tiny.say("up\n"), tiny.HANG)
    with subprocess.Popen(
        [*FLOE, "run", str(elf)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "up\n"
        (qemu,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        os.kill(qemu, 9)
        said = process.stderr.read()
        assert process.wait(30) == 126
    assert said.startswith("floe: QEMU was killed by SIGKILL\n  guest: up\n  command: ")
