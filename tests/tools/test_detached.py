# SPDX-License-Identifier: MIT
"""`floe run --detach`, `ps`, `logs`, `stop`, `rm` against real VMs: they outlive who started them, and their keeper."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from floe.detached import control, vmprocess
from floe.errors import VmError
from floe.store import vmfolder
from floe.store.records import End, Names
from floe.store.vmfolder import Process
from tests.support import tiny
from tests.support.command import FLOE, floe
from tests.support.vms import Vms, gone, kill, log, ps, until

TICKS = "import time\nn = 0\nwhile True:\n    print('tick', n)\n    n += 1\n    time.sleep_ms(50)\n"


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    path = tmp_path / "ticks.py"
    path.write_text(TICKS)
    return path


def test_a_vm_from_start_to_end(vms: Vms, ticks: Path) -> None:
    told = vms.run("--memory", "16M", ticks)
    assert told["name"] == "ticks"
    assert re.fullmatch(r"/dev/pts/\d+", told["pty"])
    assert told["socket"] is None
    assert Path(told["unix"]).is_socket()
    until(lambda: "tick 3" in log("ticks"), "a tick")

    now = ps("ticks")
    assert (now["state"], now["pid"], now["memory"]) == ("running", told["pid"], 16 << 20)
    assert 0 < now["uptime"] < 60
    assert now["exit_code"] is None
    argv = Path(f"/proc/{now['pid']}/cmdline").read_bytes().split(b"\0")
    assert b"qemu" in argv[0]
    (listed,) = json.loads(floe("ps", "--json").stdout)
    assert {**listed, "uptime": 0} == {**ps("ticks"), "uptime": 0}
    table = floe("ps").stdout.splitlines()
    assert table[0].split() == [
        "NAME",
        "STATE",
        "HYPERVISOR",
        "PID",
        "PTY",
        "SOCKET",
        "PORTS",
        "MEMORY",
        "RESTARTS",
        "UPTIME",
    ]
    assert table[1].split()[:7] == ["ticks", "running", "qemu", str(now["pid"]), told["pty"], "-", "-"]

    done = floe("stop", "ticks")
    assert (done.returncode, done.stdout) == (0, "ticks\n")
    assert "KeyboardInterrupt" in log("ticks")  # it was asked, not killed
    assert len(floe("ps").stdout.splitlines()) == 1
    ended = ps("ticks")
    assert (ended["state"], ended["exit_code"], ended["cause"]) == ("ended", 1, "stopped")
    assert (ended["pid"], ended["pty"], ended["socket"], ended["unix"]) == (None, None, None, None)
    assert "ended (1, stopped)" in floe("ps", "-a").stdout
    assert floe("logs", "ticks").stdout.startswith("tick 0")
    assert floe("rm", "ticks").returncode == 0
    assert floe("logs", "ticks").returncode == 127
    assert not any(vmfolder.root().iterdir())


def test_names(vms: Vms, ticks: Path) -> None:
    assert vms.run("--name", "one", ticks)["name"] == "one"
    assert [vms.run(ticks)["name"] for _ in range(2)] == ["ticks", "ticks-2"]
    done = floe("run", "--detach", "--name", "one", ticks)
    assert done.returncode == 125
    assert "floe: --name one: there is a running VM of that name\n" in done.stderr
    assert "try: another name, or: floe stop one && floe rm one" in done.stderr
    done = floe("rm", "one")
    assert done.returncode == 125
    assert "floe: one is running\n  try: floe stop one, or floe rm --force one" in done.stderr
    assert floe("rm", "--force", "one").returncode == 0
    assert vms.run("--name", "one", ticks)["name"] == "one"


def test_what_a_person_is_told(vms: Vms, ticks: Path) -> None:
    done = floe("run", "-d", "--name", "a", ticks)
    vms.note(vmfolder.find("a"))
    assert done.stdout == "a\n"
    now = ps("a")
    for key in ("pty", "unix"):
        assert now[key] in done.stderr
    assert "socket" not in done.stderr


@pytest.mark.parametrize("code", [0, 7, 67, 120])  # 67: QEMU's status is 137, as a shell says for SIGKILL
def test_the_script_s_exit_code_is_kept(vms: Vms, tmp_path: Path, code: int) -> None:
    image = tiny.build(tmp_path, tiny.say("up\n"), tiny.leave(code))
    vms.run("--name", "a", image)
    until(lambda: ps("a")["state"] != "running", "its end")
    assert (ps("a")["state"], ps("a")["exit_code"]) == ("ended", code)
    assert vmfolder.find("a").serial_log.read_text() == "up\n"


def test_arguments_arrive_as_they_are(vms: Vms, tmp_path: Path) -> None:
    """Also those that look like the words which the VM's processes replace on QEMU's command line."""
    script = tmp_path / "args.py"
    script.write_text("import os, sys\nprint(sys.argv[1:], os.getenv('MAIL'))\n")
    argv = ("@CONSOLE@", "a@BOOTED@b", "@QMP@")
    vms.run("--name", "a", "--env", "MAIL=me@example.org", script, "--", *argv)
    until(lambda: "example" in log("a"), "its words")
    assert f"{list(argv)} me@example.org" in log("a")


def test_a_triple_fault_is_told(vms: Vms, tmp_path: Path) -> None:
    vms.run("--name", "a", tiny.build(tmp_path, tiny.TRIPLE_FAULT))
    until(lambda: ps("a")["state"] != "running", "its end")
    assert (ps("a")["exit_code"], ps("a")["cause"]) == (120, "crash")


def test_a_vm_that_ends_before_its_keeper_looks(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with much other work."""

    class Late(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    vms.run("--name", "a", tiny.build(tmp_path, tiny.leave(3)))
    until(lambda: ps("a")["state"] == "ended", "its end")
    folder = vmfolder.find("a")
    loop, ends = asyncio.new_event_loop(), asyncio.Queue[End]()
    process = vmprocess.VmProcess(folder, folder.spec, loop)
    process.on_end = ends.put_nowait
    monkeypatch.setattr(vmprocess, "_become_subreaper", lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Late)
        process.start()
    end = loop.run_until_complete(asyncio.wait_for(ends.get(), 60))
    loop.close()
    assert (end.code, end.cause) == (3, "exit")


def test_a_start_that_fails_says_why_and_leaves_nothing(vms: Vms, tmp_path: Path) -> None:
    image = tiny.build(tmp_path, tiny.HANG)
    blocked = tmp_path / "wire"
    first = vms.run("--name", "a", image)
    assert first["state"] == "running"
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "qemu-system-x86_64").write_text("#!/bin/sh\necho no such luck >&2\nexit 2\n")
    (fake / "qemu-system-x86_64").chmod(0o755)
    path = f"{fake}:{os.environ['PATH']}"
    done = floe("run", "-d", "--name", "b", "--accel", "tcg", image, env={**os.environ, "PATH": path, "FLOE_QEMU": ""})
    assert done.returncode == 126
    assert done.stderr.startswith("floe: QEMU failed with status 2\n  QEMU: no such luck\n")
    assert [folder.name for folder in vmfolder.everything()] == ["a"]
    assert not blocked.exists()


def test_reset_keeps_endpoints_and_log(vms: Vms, tmp_path: Path) -> None:
    """Three starts, with the console's TCP port the same and the log going on."""
    script = tmp_path / "again.py"
    script.write_text(
        "import machine, sys\nprint('start', machine.reset_cause())\n"
        "if sys.stdin.read(1) == 'r':\n    machine.reset()\nsys.exit(5)\n"
    )
    told = vms.run("--name", "a", "--console-port", "0", script)
    assert re.fullmatch(r"socket://127\.0\.0\.1:\d+", told["socket"])
    for count in (1, 2):
        until(lambda count=count: log("a").count("start") == count, "a start")
        control.ask(vmfolder.find("a"), {"do": "status"})
        with open_unix(told["unix"]) as console:
            console.sendall(b"r")
            until(lambda count=count: log("a").count("start") > count, "the next start")
    now = ps("a")
    assert (now["resets"], now["pty"], now["socket"]) == (2, told["pty"], told["socket"])
    assert now["pid"] != told["pid"]
    with open_unix(told["unix"]) as console:
        console.sendall(b"x")
        until(lambda: ps("a")["state"] == "ended", "its end")
    assert ps("a")["exit_code"] == 5
    vms.note(vmfolder.find("a"))


def test_a_port_that_is_taken_is_named(vms: Vms, ticks: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = floe("run", "-d", "--console-port", str(port), ticks)
    assert done.returncode == 126
    assert f"floe: --console-port {port}: port {port} is in use\n  try: another one, or 0 for any" in done.stderr
    assert not any(vmfolder.everything())


# ---- who may die ---------------------------------------------------------------------------------------


def test_it_outlives_terminal_and_session(vms: Vms, ticks: Path) -> None:
    """floe runs as the leader of a session on a terminal, which is then closed: its whole group gets SIGHUP."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(FLOE[0], [*FLOE, "run", "--detach", "--name", "a", str(ticks)])
    until(lambda: vmfolder.Folder(vmfolder.root() / "a").console_log.exists() and "tick 2" in log("a"), "a tick")
    os.close(terminal)
    os.waitpid(pid, 0)
    vms.note(vmfolder.find("a"))
    ticks_so_far = log("a").count("tick")
    until(lambda: log("a").count("tick") > ticks_so_far + 5, "more ticks")
    keeper = vmfolder.find("a").keeper
    assert keeper is not None
    fields = Path(f"/proc/{keeper.pid}/stat").read_text().rpartition(") ")[2].split()
    assert int(fields[3]) == keeper.pid  # session leader
    assert fields[4] == "0"  # no controlling terminal


def test_the_keeper_is_killed_and_the_vm_is_found_again(vms: Vms, ticks: Path) -> None:
    told = vms.run("--name", "a", "--console-port", "0", ticks)
    until(lambda: "tick 2" in log("a"), "a tick")
    folder = vmfolder.find("a")
    kill(folder.keeper)
    assert folder.vm is not None
    now = ps("a")
    assert (now["state"], now["pid"], now["socket"]) == ("running", told["pid"], told["socket"])
    vms.note(folder)
    assert "the keeper of this VM was gone" in log("a")
    said = log("a").count("tick")
    until(lambda: log("a").count("tick") > said + 3, "more ticks")
    assert floe("stop", "a").returncode == 0
    assert (ps("a")["exit_code"], ps("a")["cause"]) == (1, "stopped")


def test_a_keeper_that_is_killed_is_replaced_by_itself(vms: Vms, ticks: Path) -> None:
    """Nobody has to look."""
    vms.run("--name", "a", ticks)
    folder = vmfolder.find("a")
    before = folder.keeper
    kill(before)
    until(lambda: folder.keeper not in (None, before), "another keeper")
    vms.note(folder)
    said = log("a").count("tick")
    until(lambda: log("a").count("tick") > said + 3, "more ticks")
    assert log("a").count("the keeper of this VM was gone") == 1
    now = folder.keeper
    assert now is not None
    held = [os.readlink(link) for link in Path(f"/proc/{now.pid}/fd").iterdir()]
    assert not [name for name in held if "memfd" in name]
    assert floe("stop", "a").returncode == 0
    assert (ps("a")["exit_code"], ps("a")["cause"]) == (1, "stopped")


def test_keeper_and_parent_are_killed(vms: Vms, ticks: Path) -> None:
    """QEMU alone is left: the next floe that looks starts a keeper."""
    told = vms.run("--name", "a", ticks)
    folder = vmfolder.find("a")
    kill(folder.parent)
    kill(folder.keeper)
    said = log("a").count("tick")
    assert (ps("a")["state"], ps("a")["pid"]) == ("running", told["pid"])
    vms.note(folder)
    until(lambda: log("a").count("tick") > said + 3, "more ticks")
    assert floe("stop", "a").returncode == 0
    assert (ps("a")["state"], ps("a")["pid"]) == ("crashed", None)  # its exit status went with its parent


def test_a_vm_that_ends_while_its_keeper_is_gone(vms: Vms, tmp_path: Path) -> None:
    script = tmp_path / "brief.py"
    script.write_text("import sys, time\nprint('up')\ntime.sleep(5)\nsys.exit(9)\n")
    vms.run("--name", "a", script)
    folder = vmfolder.find("a")
    until(lambda: "up" in log("a"), "its start")
    kill(folder.keeper)
    until(lambda: folder.vm is None, "its end")
    assert (ps("a")["state"], ps("a")["exit_code"]) == ("ended", 9)


def test_a_vm_that_ends_while_it_is_asked_for(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keeper knows of no end yet: it is not told to be running without a process."""
    vms.run("--name", "a", tiny.build(tmp_path, tiny.HANG))
    ask = control.ask
    asked = []

    def stale(folder: vmfolder.Folder, request: dict[str, Any]) -> dict[str, Any] | None:
        answer = ask(folder, request)
        if not asked:
            asked.append(answer)
            kill(folder.vm)
            until(lambda: folder.vm is None, "its end")
        return answer

    monkeypatch.setattr(control, "ask", stale)
    assert (ps("a")["state"], ps("a")["problem"]) == ("crashed", "QEMU was killed by SIGKILL")
    assert asked[0]["end"] is None


def test_a_keeper_that_cannot_connect_leaves_the_vm_alone(
    vms: Vms, ticks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms.run("--name", "a", ticks)
    folder = vmfolder.find("a")
    kill(folder.parent)
    kill(folder.keeper)
    sockets = Path(folder.spec.sockets)
    (sockets / Names.PARTS[1]).rename(sockets / "away")
    with monkeypatch.context() as patch:
        patch.setattr(control, "_ANSWER_S", 1.0)
        with pytest.raises(VmError, match="a runs, and no keeper for it answers"):
            ps("a")
    assert folder.vm is not None
    (sockets / "away").rename(sockets / Names.PARTS[1])
    assert ps("a")["state"] == "running"
    vms.note(folder)


def test_the_parent_is_killed_and_the_exit_code_is_kept(vms: Vms, tmp_path: Path) -> None:
    script = tmp_path / "brief.py"
    script.write_text("import sys, time\nprint('up')\ntime.sleep(5)\nsys.exit(9)\n")
    vms.run("--name", "a", script)
    folder = vmfolder.find("a")
    until(lambda: "up" in log("a"), "its start")
    kill(folder.parent)
    assert folder.vm is not None
    assert ps("a")["state"] == "running"
    until(lambda: folder.vm is None, "its end")
    until(lambda: ps("a")["state"] == "ended", "the record")
    assert ps("a")["exit_code"] == 9


def test_all_of_it_is_killed(vms: Vms, ticks: Path) -> None:
    vms.run("--name", "a", ticks)
    folder = vmfolder.find("a")
    keeper, parent, vm = folder.keeper, folder.parent, folder.vm
    until(lambda: "tick 25" in log("a"), "some time")
    for process in (keeper, parent, vm):
        kill(process)
    now = ps("a")
    assert 1.0 < now["uptime"] < 60  # for as long as there was a sign of it, not 0
    assert (now["state"], now["exit_code"], now["cause"]) == ("crashed", None, "unknown")
    assert floe("stop", "a").returncode == 0
    assert floe("rm", "a").returncode == 0


def test_qemu_is_killed(vms: Vms, ticks: Path) -> None:
    wire = ticks.parent / "wire"
    ticks.write_text("import network\n" + TICKS)
    vms.run("--name", "a", "--net", f"listen:{wire}", ticks)
    assert wire.is_socket()
    kill(vmfolder.find("a").vm)
    until(lambda: ps("a")["state"] == "crashed", "the record")
    assert ps("a")["problem"] == "QEMU was killed by SIGKILL"
    assert not wire.exists()  # QEMU could not remove it


def test_the_host_was_restarted(vms: Vms, ticks: Path) -> None:
    """Every process number means something else, and some are in use again."""
    vms.run("--name", "a", ticks)
    folder = vmfolder.find("a")
    assert floe("stop", "a").returncode == 0
    folder.end = folder.exit_status = None
    own = Process.of(os.getpid())
    assert own is not None
    folder.keeper = folder.parent = Process(own.pid, own.start, "another boot")
    folder.pid = own.pid
    assert (ps("a")["state"], ps("a")["pid"]) == ("crashed", None)
    assert floe("stop", "a").returncode == 0
    assert own.alive


def test_stop_kills_a_guest_that_does_not_listen(vms: Vms, tmp_path: Path) -> None:
    vms.run("--name", "a", tiny.build(tmp_path, tiny.HANG))
    done = floe("stop", "--timeout", "0.2", "a")
    assert done.returncode == 0
    assert (ps("a")["exit_code"], ps("a")["cause"]) == (130, "interrupt")


def test_a_keeper_that_hangs(vms: Vms, ticks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so, and the VM can be removed by force: nobody comes back to life."""
    vms.run("--name", "a", ticks)
    folder = vmfolder.find("a")
    processes = (folder.parent, folder.keeper, folder.vm)
    assert folder.keeper is not None
    folder.keeper.signal(signal.SIGSTOP)
    monkeypatch.setattr(control, "_ANSWER_S", 0.3)
    monkeypatch.setattr(control.ask, "__kwdefaults__", {"timeout_s": 0.3})
    with pytest.raises(VmError) as e:
        control.status(folder)
    assert (e.value.message, e.value.hint) == ("the keeper of a does not answer", "floe rm --force a")
    control.remove(folder, force=True)
    for process in processes:
        assert process is not None
        gone(process)
    assert not list(vmfolder.everything())


def test_sigterm_to_the_keeper_is_stop(vms: Vms, ticks: Path) -> None:
    vms.run("--name", "a", ticks)
    until(lambda: "tick 2" in log("a"), "a tick")
    keeper = vmfolder.find("a").keeper
    assert keeper is not None
    keeper.signal(signal.SIGTERM)
    gone(keeper)
    assert ps("a")["cause"] == "stopped"


# ---- logs ----------------------------------------------------------------------------------------------


def test_logs(vms: Vms, tmp_path: Path) -> None:
    script = tmp_path / "lines.py"
    script.write_text("for i in range(100):\n    print('line', i)\n")
    vms.run("--name", "a", script)
    until(lambda: ps("a")["state"] == "ended", "its end")
    assert floe("logs", "-n", "2", "a").stdout.split() == ["line", "98", "line", "99"]
    assert floe("logs", "-n", "0", "a").stdout == ""
    assert len(floe("logs", "a").stdout.splitlines()) == 100
    assert len(floe("logs", "-f", "a").stdout.splitlines()) == 100  # it has ended: so does this


def test_logs_and_ps_show_control_sequences_and_obey_none(vms: Vms, tmp_path: Path) -> None:
    said = b"\x1b]0;title\x07 \x1b[31mred \xc2\x9b6n \x9b \rover \x08 \tn\xc3\xa4h \x7f\r\n"
    vms.run("--name", "a", tiny.build(tmp_path, tiny.say("\x1b]0;title\x07\n"), tiny.leave(0)))
    until(lambda: ps("a")["state"] != "running", "its end")
    folder = vmfolder.find("a")
    folder.console_log.write_bytes(said)
    wanted = "^[]0;title^G ^[[31mred \\x9b6n \\x9b ^Mover ^H \tn\u00e4h ^?\r\n"
    done = subprocess.run([*FLOE, "logs", "a"], capture_output=True, timeout=60, check=True)
    assert done.stdout.decode() == wanted
    assert b"\x1b" not in done.stderr and b"title" in done.stderr
    done = subprocess.run([*FLOE, "logs", "--raw", "a"], capture_output=True, timeout=60, check=True)
    assert done.stdout == said
    folder.end = End(code=None, cause="failed", at=folder.life.began + 61.5, problem="\x1b[2Jgone")
    listed = floe("ps", "-a").stdout
    assert "^[[2Jgone" in listed and "\x1b" not in listed and "1m01s" in listed


def test_logs_with_times(vms: Vms, tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(
        "import time\nprint('one\\ntwo')\ntime.sleep(2)\nprint('three', end='')\ntime.sleep(0.3)\nprint('!')\n"
    )
    began = time.time()
    vms.run("--name", "a", script)
    until(lambda: ps("a")["state"] == "ended", "its end")
    for flags in ((), ("-f",), ("-n", "3")):
        lines = floe("logs", "-t", *flags, "a").stdout.splitlines()
        assert [line[24:] for line in lines] == [" one", " two", " three!"]
        times = [datetime.fromisoformat(line[:24]).timestamp() for line in lines]
        assert began - 1 < times[0] == times[1] < times[2] - 0.2 < time.time()


def test_logs_show_a_panic(vms: Vms, tmp_path: Path) -> None:
    vms.run("--name", "a", tiny.build(tmp_path, tiny.say("PANIC of a kind\n"), tiny.leave(120)))
    until(lambda: ps("a")["state"] == "ended", "its end")
    done = floe("logs", "a")
    assert (done.stdout, done.stderr) == ("", "PANIC of a kind\n")


def test_logs_are_followed_to_the_end(vms: Vms, ticks: Path) -> None:
    vms.run("--name", "a", ticks)
    with subprocess.Popen([*FLOE, "logs", "-f", "a"], stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(20)]
        assert [int(line.split()[1]) for line in lines] == list(range(20))
        stopper = threading.Thread(target=floe, args=("stop", "a"))
        stopper.start()
        rest = follower.stdout.read()
        stopper.join()
        assert follower.wait() == 0
    assert rest.endswith(log("a")[-20:])


def open_unix(path: str) -> socket.socket:
    """A client at a VM's UNIX socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(path)
    return sock
