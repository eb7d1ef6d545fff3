# SPDX-License-Identifier: MIT
"""fork() of a Xen domain in the lab: the child is another domain, made of the first one's state by xl, and another
machine. What fails leaves the parent as it was, and nothing in dom0."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.testing import Boot, Guest
from floe.vm.child import Child
from floe.xenlab import lab as the_lab
from tests.support.vms import until
from tests.xen.xl import domains

GUEST = Path(__file__).with_name("guest_fork.py")
SLOW = 600  # seconds: each fork takes 4 in a quiet lab

# Kills the xl that restores once it has made a domain, which is the third row of its list.
KILL_XL = """
until found=$(ps | grep '[x]l restore' | grep -v set) && [ "$(xl list | wc -l)" -gt 3 ]; do usleep 50000; done
set -- $found
kill -9 "$1" && echo killed
"""


@pytest.fixture(autouse=True)
def nothing_is_left(lab: None) -> Iterator[None]:
    """Every test begins and ends without a domain and without files of one."""
    until(is_empty, "dom0 to be empty")
    yield
    until(is_empty, "what the test has left in dom0 to go")


def is_empty() -> bool:
    return not domains() and not the_lab.call("ls -d /run/floe.* 2>/dev/null")


def said(vm: Guest) -> str:
    text = vm.console_text.replace("\r", "")
    assert "PANIC" not in text and "Traceback" not in text and "floe: family" not in text, text
    return text


def test_a_child_is_another_machine(boot: Boot, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text(GUEST.read_text())
    (folder / "image.toml").write_text('name = "kin"\ndisks = true\n')
    disk = tmp_path / "disk"
    vm = boot(folder, deadline_s=SLOW, memory="16M", args=("forks",), ports=(7,), disks=(f"{disk}:size=1M",))
    vm.say = print
    vm.expect_exact("ready")
    with socket.create_connection(("127.0.0.1", vm.ports[7]), SLOW) as conn:
        conn.sendall(b"go")
        vm.expect_exact("serving", SLOW)
        assert vm.family is not None
        (child,) = vm.family.children
        port = child.machine.spec.forwards[0].host_port
        with socket.create_connection(("127.0.0.1", port), SLOW) as own:
            assert vm.loop.run_until_complete(vm.loop.sock_recv(unblocked(own), 100)) == b"I am kin-1"
        assert conn.recv(100) == b"still here"
        conn.sendall(b"bye")
        assert vm.wait() == 0
    text = said(vm)
    for line in (
        *("heard b'go'", "heard b'bye'", "from the pipe 100010", "child 7", "its disk the parent's", "the end"),
        *("[kin.1] of the parent's connection ECONNRESET", "[kin.1] its disk the parent's", "[kin.1] grandchild 9"),
        *("[kin.2] its disk the child's",),
    ):
        assert f"\n{line}\n" in text, text
    rows = [line.split() for line in text.splitlines() if line.endswith("True")]
    who = {row[-9]: row[-8:] for row in rows}
    assert [who[name][:2] for name in ("parent", "child", "grandchild")] == [["1", "0"], ["2", "1"], ["3", "2"]], text
    assert [who[name][5] for name in ("child", "grandchild")] == ["kin-1", "kin-2"]
    for what in (2, 3, 4, 6):  # hardware address, address, identity, random bytes
        assert len({row[what] for row in who.values()}) == 3, text


def test_a_child_is_killed_and_one_ends_with_its_family(boot: Boot) -> None:
    vm = boot(GUEST, deadline_s=SLOW, memory="16M", args=("kills",))
    vm.say = print
    assert vm.wait() == 0
    assert said(vm).endswith("heard b'up'\nended -9\none is left\nthe end\n")


def test_a_fork_that_fails_leaves_the_parent_as_it_was(boot: Boot) -> None:
    """The process of the copy is killed in the middle; then xl is, in dom0, while it makes the copy's domain."""
    vm = boot(GUEST, deadline_s=SLOW, memory="16M", args=("refused",))
    lines: list[str] = []
    vm.say = lines.append
    assert vm.family is not None
    listen = vm.family.on_child

    def kill(name: str, machine: object) -> None:
        assert isinstance(machine, Child)
        listen(name, machine)
        os.kill(machine.pid, signal.SIGKILL)

    vm.family.on_child = kill
    vm.send(b"\n")
    vm.expect_exact("not forked EAGAIN", SLOW)
    vm.family.on_child = listen
    with the_lab.connect(KILL_XL) as killer:
        vm.send(b"\n")
        vm.expect_exact("not forked EAGAIN", SLOW)
        assert killer.recv(100) == b"killed\n"
    vm.send(b"\n")
    vm.expect_exact("forked 3", SLOW)
    assert len(lines) == 2 and all(" could not be copied: " in line for line in lines), lines
    assert "xl did not copy the domain: " in lines[1]
    said(vm)


def unblocked(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    return sock
