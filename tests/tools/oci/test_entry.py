# SPDX-License-Identifier: MIT
"""The first process of a container (tools/floe/oci/entry.c) with a program that stands for QEMU."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from floe.oci import image
from floe.spec.guestline import encode_argument

FAKE = Path(__file__).with_name("fakeqemu.py")
LIMIT_S = 30.0


@dataclass
class Container:
    """A folder as /floe is."""

    folder: Path

    @property
    def notes(self) -> list[dict[str, Any]]:
        path = self.folder / "notes"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def write(self, name: str, *words: str) -> None:
        (self.folder / name).write_bytes("".join(f"{word}\0" for word in words).encode())

    def command(self, mode: str) -> None:
        argv = [sys.executable, str(FAKE), str(self.folder / "notes"), mode, "-one", "-append", "base"]
        for kind in ("kvm", "tcg"):
            self.write(kind, *argv[:-2], f"-by-{kind}", *argv[-2:])

    def start(
        self, *args: str | bytes, env: dict[str, str] | None = None, name: str = "entry"
    ) -> subprocess.Popen[str]:
        environment = {"FLOE_ACCEL": "tcg"} | (env or {})
        argv = [str(self.folder / name), *args]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def run(self, *args: str | bytes, **more: Any) -> tuple[int, str, str]:
        with self.start(*args, **more) as process:
            out, err = process.communicate(timeout=LIMIT_S)
            return process.returncode, out, err


@pytest.fixture
def container(tmp_path: Path) -> Container:
    made = Container(tmp_path)
    shutil.copy(image.ENTRY, tmp_path / "entry")
    (tmp_path / "healthy").symlink_to("entry")
    made.write("stop", "\x03")
    made.write("secrets")
    made.write("ports")
    return made


@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        ("exit:3", 0, ""),
        ("exit:17", 7, ""),
        ("exit:245", 121, ""),
        ("exit:255", 126, ""),
        ("exit:1", 126, "QEMU failed with status 1"),
        ("exit:0", 120, "the guest crashed"),
        ("event:guest-reset:0", 120, "the guest crashed"),
        ("event:guest-shutdown:0", 0, ""),
        ("killed", 126, "QEMU was ended by signal 9"),
        ("stands", 126, "KVM could not go on running the guest"),
    ],
)
def test_exit_code(container: Container, mode: str, code: int, said: str) -> None:
    container.command(mode)
    done, out, err = container.run()
    assert (done, out) == (code, "from the console\n")
    assert err.startswith("from the 16550\n")
    assert said in err and (said or err == "from the 16550\n")


def test_arguments_and_variables(container: Container) -> None:
    container.command("exit:3")
    args = ["a", "b c", "", "100%", "virtio_mmio.device=1", "ü\n\"'@", "--", "-x"]
    env = {"TEXT": "two\nlines = ü", "EMPTY": "", "PATH": "/bin", "HOME": "/root", "container": "podman"}
    assert container.run(*args, env=env)[0] == 0
    (told,) = container.notes
    assert told["line"] == " ".join(["base", "--", *map(encode_argument, args)])
    assert told["variables"] == {"TEXT": "two\nlines = ü", "EMPTY": ""}
    assert told["words"] == ["-one", "-by-tcg", "-append"]
    assert told["descriptors"][:6] == [0, 1, 2, 3, 4, 5]
    assert set(told["environment"]) <= {"LC_CTYPE"}, "the container's variables are none of QEMU's"


def test_every_character_as_floe_run_has_it(container: Container) -> None:
    container.command("exit:3")
    args = [chr(code) + "x" + chr(code) for code in (*range(1, 0x180), 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF)]
    line = ""
    for start in range(0, len(args), 128):
        assert container.run(*args[start : start + 128])[0] == 0
        line = container.notes[-1]["line"]
        assert line == " ".join(["base", "--", *map(encode_argument, args[start : start + 128])])


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf0\x80\x80\x80"]
)
def test_what_is_no_utf_8_is_refused(container: Container, raw: bytes) -> None:
    container.command("exit:3")
    code, _, err = container.run(raw)
    assert (code, err) == (125, "floe: an argument is not UTF-8\n")
    code, _, err = container.run(env={"NAME": os.fsdecode(raw)})
    assert (code, err) == (125, "floe: not UTF-8: variable NAME\n")
    assert container.notes == []


def test_too_much_is_refused(container: Container) -> None:
    container.command("exit:3")
    code, _, err = container.run("x" * 4000)
    assert code == 125 and "arguments are too long" in err
    code, _, err = container.run(env={f"N{n}": "x" * 8000 for n in range(9)})
    assert code == 125 and "more than 64 KiB" in err
    assert container.notes == []


@pytest.mark.parametrize(("status", "word"), [(247, "hard"), (249, "deepsleep")])
def test_a_guest_that_resets_is_started_again(container: Container, status: int, word: str) -> None:
    container.command(f"reset:{status}")
    assert container.run("arg")[0] == 0
    assert [told["line"] for told in container.notes] == ["base -- arg", f"base floe.reset={word} -- arg"]


def first_lines(process: subprocess.Popen[str], last: str) -> None:
    assert process.stdout is not None
    while (line := process.stdout.readline()) != last:
        assert line, "it has ended"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_the_guest(container: Container, number: signal.Signals) -> None:
    container.command("asked:11")
    with container.start() as process:
        first_lines(process, "from the console\n")
        process.send_signal(number)
        out, _ = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (4, "asked\n")


def test_what_is_typed_is_in_a_file(container: Container) -> None:
    container.command("asked:3")
    container.write("stop", "floe.stop()\r\x03")
    with container.start() as process:
        first_lines(process, "from the console\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize(("mode", "least_s"), [("slow", 0.0), ("deaf", 2.0)])
def test_who_asks_twice_ends_it(container: Container, mode: str, least_s: float) -> None:
    container.command(mode)
    with container.start() as process:
        first_lines(process, f"{mode}\n")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)  # two of a kind at once are one
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 130
        assert time.monotonic() - started >= least_s


def test_patience_has_an_end(container: Container) -> None:
    container.command("slow")
    with container.start() as process:
        first_lines(process, "slow\n")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 130
        assert time.monotonic() - started >= 5.0


def test_it_takes_qemu_with_it(container: Container) -> None:
    container.command("deaf")
    with container.start() as process:
        first_lines(process, "deaf\n")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (child,) = children.read_text().split()
        process.kill()
    until = time.monotonic() + LIMIT_S
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_accelerator(container: Container) -> None:
    container.command("exit:3")
    code, _, err = container.run(env={"FLOE_ACCEL": "xen"})
    assert code == 125 and "neither kvm nor tcg" in err
    serves = os.access("/dev/kvm", os.R_OK | os.W_OK)
    code, _, err = container.run(env={"FLOE_ACCEL": "kvm"})
    assert code == (0 if serves else 126), err
    code, _, err = container.run(env={"FLOE_ACCEL": ""})
    assert code == 0
    assert container.notes[-1]["words"][1] == ("-by-kvm" if serves else "-by-tcg")
    assert ("more slowly" in err) != serves


def test_a_secret_that_the_image_needs(container: Container) -> None:
    container.command("exit:3")
    container.write("secrets", "no-such-secret")
    code, _, err = container.run()
    assert (code, err) == (125, "floe: the image needs the secret no-such-secret\n")


@pytest.mark.parametrize("content", [b"no end", b"", b"x\0" * 40_000])
def test_a_list_of_words_that_is_none(container: Container, content: bytes) -> None:
    (container.folder / "tcg").write_bytes(content)
    code, _, err = container.run()
    assert code == 125
    assert "not as floe build has written it" in err or "no command: tcg" in err


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.mark.parametrize(("answer", "code"), [("silent", 0), ("greets", 0), ("closes", 1)])
def test_health(container: Container, listener: socket.socket, answer: str, code: int) -> None:
    kept = []

    def serve() -> None:
        connection, _ = listener.accept()
        if answer == "greets":
            connection.sendall(b"220\r\n")
        if answer == "closes":
            connection.close()
        kept.append(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    port = str(listener.getsockname()[1])
    container.write("ports", port)
    done, out, err = container.run(name="healthy")
    thread.join(LIMIT_S)
    assert (done, out) == (code, "")
    assert err == (f"floe: nothing is served at port {port}\n" if code else "")


def test_health_of_a_port_that_is_closed(container: Container, listener: socket.socket) -> None:
    port = str(listener.getsockname()[1])
    listener.close()
    container.write("ports", port)
    assert container.run(name="healthy")[0] == 1
    container.write("ports")
    assert container.run(name="healthy")[0] == 0
