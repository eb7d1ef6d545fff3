# SPDX-License-Identifier: MIT
"""fork() to another host: what a child there is, what it costs, why it is refused, and what becomes of it with its host,
its agent, or its owner. The sshd and ssh are real ones (tests/support/sshhosts.py)."""

from __future__ import annotations

import ast
import errno
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from floe.detached import control
from floe.hosts.remote import Elsewhere
from floe.store import vmfolder
from floe.testing import Boot, Guest
from tests.support import sshhosts
from tests.support.command import FLOE, floe
from tests.support.sshhosts import Hosts, machines
from tests.support.vms import Vms, log, until

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_hosts.py"
DEADLINE_S = 240.0


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    with sshhosts.by_proxy(tmp_path / "hosts") as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def once(tmp_path: Path) -> Iterator[Boot]:
    """As `boot`, with one accelerator: nothing but the first test is about it."""
    with Boot(folder=tmp_path) as boots:
        boots.defaults["memory"] = "16M"
        yield boots


class Parent:
    """A VM that evaluates what it is told, and what its owner says meanwhile."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.lines: list[str] = []
        vm.say = self.lines.append

    def __call__(self, line: str) -> Any:
        self.vm.send(f"{line}\n".encode())
        return self.answer()

    def answer(self) -> Any:
        """What the line that is evaluated comes to; another VM's line may be right behind it."""
        self.vm.expect(r"(?m)^= ([^\n]*)\n")
        return ast.literal_eval(self.vm.match.group(1))

    def born(self, number: int) -> None:
        """Wait for a child's first line, which may have come before its parent's own."""
        line = f"[guest_fork_hosts.{number}] born"
        if line not in self.vm.console_text:
            self.vm.expect_exact(line)

    def sent(self) -> int:
        """Bytes to other hosts, so far."""
        assert self.vm.family is not None and isinstance(self.vm.family.elsewhere, Elsewhere)
        return self.vm.family.elsewhere.sent

    def end(self) -> None:
        self.vm.send(b"end\n")
        assert self.vm.wait() == 0
        assert "PANIC" not in self.vm.console_text


def test_a_child_there_is_a_child(boot: Boot, hosts: Hosts, tmp_path: Path) -> None:
    cache = hosts.add("east")
    key = tmp_path / "key"
    key.write_text("s3cret")
    vm = boot(
        GUEST,
        deadline_s=DEADLINE_S,
        args=("one", "two"),
        env={"WORD": "w"},
        secrets={"key": key, "own": key},
        child_secrets=["key"],
    )
    parent = Parent(vm)
    key.unlink()
    text, ended = parent("asked(facts, 'east')")
    assert ended == (2, 0)
    first, here = ast.literal_eval(text), parent("facts()")
    assert first[:3] == here[:3] == (["one", "two"], "w", b"s3cret")
    assert first[3] != here[3] and first[4] != here[4]
    cost = parent.sent()
    assert list(cache.rglob("*.elf")) != []
    assert parent("fork('east', 600)") == 3
    assert parent.sent() - cost < cost / 4  # what the first fork has sent is there
    [pid] = machines(cache)
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"WORD" not in command and b"one" not in command.split(b"\0")
    parent.born(2)
    assert parent("vm.kill(3, 15), reap()") == (None, (3, 5))
    assert "[guest_fork_hosts.2] born 3\n" in vm.console_text
    assert parent("asked(grandchild, 'east')") == ("(5, (5, 0))", (4, 0))
    assert "[guest_fork_hosts.4] grandchild\n" in vm.console_text
    assert machines(cache) == [] == parent.lines
    parent.end()


def test_messages_between_three(once: Boot, hosts: Hosts) -> None:
    hosts.add("east")
    hosts.add("west")
    parent = Parent(once(GUEST, deadline_s=DEADLINE_S))
    count = int(os.environ.get("FLOE_FORK_MESSAGES", "60"))  # by each of them; 3,400 were sent by hand
    assert parent(f"messages({count}, ('east', None, 'west'))") == (True, b"", [0, 0, 0])
    parent.end()


def test_refusals(once: Boot, hosts: Hosts, tmp_path: Path) -> None:
    """Each with a number, a line, and a parent that goes on."""
    old = tmp_path / "qemu-old"
    old.write_text("#!/bin/sh\necho QEMU emulator version 1.0.0\n")
    old.chmod(0o755)
    other = tmp_path / "other"
    other.mkdir()
    hello = b'{"floe": "9.9", "protocol": 9}'
    (other / "hello").write_bytes(struct.pack("<IBBHI", len(hello), 1, 0, 0, 0) + hello)
    (other / "floe").write_text(f"#!/bin/sh\ncat {other / 'hello'}; cat > /dev/null\n")
    (other / "floe").chmod(0o755)
    hosts.add("other", PATH=f"{other}:/usr/bin:/bin")
    hosts.add("stranger", key="wrong")
    hosts.add("old", FLOE_QEMU=str(old))
    hosts.add("bare", PATH="/usr/bin:/bin")
    hosts.add("odd", XDG_CACHE_HOME="/dev/null")
    hosts.add("down", address="127.0.0.1")
    config = hosts.folder / "ssh_config"
    config.write_text(config.read_text().replace("HostName 127.0.0.1", "ProxyCommand false"))
    parent = Parent(once(GUEST, deadline_s=DEADLINE_S))
    for name, number, says in (
        ("nobody", errno.ENOENT, "there is no host nobody"),
        ("stranger", errno.EACCES, "stranger does not let us in: "),
        ("old", errno.EOPNOTSUPP, "old: QEMU 1.0.0 there, "),
        ("other", errno.EOPNOTSUPP, "other has floe 9.9 (protocol 9), this machine "),
        ("bare", errno.EOPNOTSUPP, "bare has no floe there: "),
        ("odd", errno.ENOTDIR, "odd: /dev/null/floe/images: Not a directory"),
        ("down", errno.EHOSTUNREACH, "down is not reached: "),
    ):
        before = len(parent.lines)
        assert parent(f"fork({name!r})") == -number, parent.lines
        [line] = parent.lines[before:]
        assert line.startswith(f"guest_fork_hosts could not be copied: {says}")
    assert parent("fork(None), reap()") == (9, (9, 0))
    parent.end()


def test_a_full_disk_there(once: Boot, hosts: Hosts, small_disk: Callable[[str], AbstractContextManager[Path]]) -> None:
    with small_disk("64k") as folder:
        hosts.add("full", XDG_CACHE_HOME=str(folder))
        parent = Parent(once(GUEST, deadline_s=DEADLINE_S))
        assert parent("fork('full')") == -errno.ENOSPC
        assert "full: " in parent.lines[-1] and "No space left on device" in parent.lines[-1]
        assert list(folder.rglob("*.elf")) == [] == list(folder.rglob(".part*"))
        subprocess.run(["mount", "-o", "remount,size=8M", str(folder)], check=True)
        assert parent("fork('full'), reap()") == (3, (3, 0))
        parent.end()


def test_a_disk_goes_along(once: Boot, hosts: Hosts, tmp_path: Path) -> None:
    hosts.add("east")
    parent = Parent(once(GUEST, deadline_s=DEADLINE_S, disks=(f"{tmp_path / 'd.img'}:size=1M",)))
    assert parent("notes('here')") == 4
    text, _ = parent("asked(disk, 'east')")
    assert ast.literal_eval(text) == ("here", "here there", -errno.EOPNOTSUPP)
    assert parent("notes()") == "here"
    parent.end()


def test_an_agent_that_dies_takes_its_children_and_the_next_fork_has_another(once: Boot, hosts: Hosts) -> None:
    cache = hosts.add("east")
    parent = Parent(once(GUEST, deadline_s=DEADLINE_S))
    parent.vm.send(b"held('east')\n")
    parent.vm.expect("born")
    [pid] = machines(cache)
    agent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(agent, signal.SIGKILL)
    assert parent.answer() == (b"", (2, -signal.SIGKILL))
    until(lambda: machines(cache) == [], "the end of its VM")
    assert parent("fork('east'), reap()") == (3, (3, 0))
    parent.end()


def test_nothing_is_left_of_an_owner_that_is_killed(hosts: Hosts, tmp_path: Path) -> None:
    cache = hosts.add("east")
    argv = [*FLOE, "run", str(GUEST)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"held('east')\n")
        process.stdin.flush()
        assert any(b"born" in line for line in process.stdout)
        assert len(machines(cache)) == 1
        process.kill()
    until(lambda: machines(cache) == [], "the end of its VM there")


def test_a_detached_vm_and_its_child_there(hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.add("east")
    script = tmp_path / "app.py"
    script.write_text("import time, vm\nvm.spawn(lambda: (print('here'), time.sleep(600)), host='east')\nvm.wait()\n")
    with Vms(tmp_path, monkeypatch) as vms:
        name = vms.run(script)["name"]
        until(lambda: "[app.1] here\n" in log(name), "the child's line")
        assert floe("logs", "app.1").stdout == "here\n"
        [row] = [line.split() for line in floe("ps").stdout.splitlines() if "app.1" in line]
        assert row[:4] == ["app.1", "running", "qemu@east", "-"]
        assert floe("stop", "--timeout", "0", "app.1").stderr == "floe: app.1 ended by signal 9\n"
        until(lambda: not control.status(vmfolder.find(name)).alive, "its end")


def test_a_host_that_goes_away(once: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody says goodbye: its network is no more. Its neighbour goes on."""
    with sshhosts.in_namespaces(tmp_path / "hosts", ("east", "west")) as hosts:
        for name, value in hosts.environment.items():
            monkeypatch.setenv(name, value)
        parent = Parent(once(GUEST, deadline_s=DEADLINE_S))
        assert parent("fork('west', 600)") == 2
        parent.born(1)
        parent.vm.send(b"held('east')\n")
        parent.born(2)
        hosts.cut_off("east")
        assert parent.answer() == (b"", (3, -signal.SIGKILL))
        assert parent("vm.kill(2, 0)") is None
        assert parent("messages(20, ('west', 'west'))") == (True, b"", [0, 0])
        assert parent("vm.kill(2, 15), reap()") == (None, (2, 5))
        parent.end()
