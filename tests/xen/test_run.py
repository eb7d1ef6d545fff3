# SPDX-License-Identifier: MIT
"""floe run --hypervisor xen in the lab: how domains end, what they are given, and what of floe works on them."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from floe.errors import FloeError
from floe.testing import Boot
from floe.xen import dom0, places
from floe.xenlab import lab as the_lab
from tests.support.command import FLOE, failure, floe
from tests.support.fixtures import REPO
from tests.support.vms import Vms, log, ps, until
from tests.xen import dom0 as in_dom0
from tests.xen.xl import domains

TICKS = "import time\nprint('ready')\nn = 0\nwhile True:\n    time.sleep_ms(100)\n    n += 1\n    print('tick', n)\n"
GUEST = "127.0.0.9"
MPREMOTE = Path(sys.executable).with_name("mpremote")


def script(tmp_path: Path, text: str, name: str = "app.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def nothing_is_left(lab: None) -> None:
    """Every test begins without a domain, so the one before has left none."""
    until(lambda: not domains(), "the domains of an earlier test to go")


# ---- the end ------------------------------------------------------------------------------------


def test_hello(boot: Boot) -> None:
    vm = boot("hello", deadline_s=60)
    assert vm.wait() == 0
    assert vm.console_text == "hello, world\n"
    assert vm.outcome is not None
    assert vm.outcome.cause == "exit"


def test_exit_code_arguments_and_environment(boot: Boot, tmp_path: Path) -> None:
    text = "import os, sys\nprint(*sys.argv[1:], os.getenv('K'), sep='|')\nsys.exit(3)\n"
    given = ["a", "b c", "", '"', "\\", "%", "ü", "env.K=2", "--"]
    vm = boot(script(tmp_path, text), deadline_s=60, args=given, env={"K": "q\"\\' ;$x"})
    assert vm.wait() == 3
    assert vm.console_text == "|".join([*given, "q\"\\' ;$x\n"])


def test_a_panic_is_120_and_its_text_is_there(boot: Boot) -> None:
    guest = Path(__file__).resolve().parents[1] / "target" / "guests" / "guest_protection.py"
    vm = boot(guest, deadline_s=60, args=("read", "0"))
    assert vm.wait() == 120
    assert vm.outcome is not None
    assert vm.outcome.cause == "panic"
    assert "PANIC: NULL pointer access" in vm.panic_text


def test_all_output_is_there_however_much_it_is(boot: Boot, tmp_path: Path) -> None:
    vm = boot(script(tmp_path, "for i in range(20000):\n    print('line', i)\n"), deadline_s=120)
    assert vm.wait() == 0
    assert vm.console_text == "".join(f"line {i}\n" for i in range(20000))


def test_reset_and_deep_sleep_start_the_domain_again(boot: Boot, tmp_path: Path) -> None:
    text = """
import machine
print("cause", machine.reset_cause(), machine.unique_id().hex())
if machine.reset_cause() == machine.PWRON_RESET:
    machine.reset()
if machine.reset_cause() == machine.HARD_RESET:
    machine.deepsleep(100)
"""
    own = "01234567-89ab-cdef-0123-456789abcdef"
    vm = boot(script(tmp_path, text), deadline_s=120, uuid=own)
    assert vm.wait() == 0
    assert vm.console_text == "".join(f"cause {n} {own.replace('-', '')}\n" for n in (1, 2, 4))
    assert vm.resets == 2


def test_the_command_relays_and_stops_at_ctrl_c(lab: None, tmp_path: Path) -> None:
    argv = [*FLOE, "run", "--hypervisor", "xen", str(script(tmp_path, TICKS))]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in running.stdout.read()
        assert running.wait(30) == 1  # nobody caught it


def test_timeout(lab: None, tmp_path: Path) -> None:
    done = floe("run", "--hypervisor", "xen", "--timeout", "5", script(tmp_path, TICKS))
    assert done.returncode == 124
    assert "did not end within 5 s" in done.stderr


# ---- what a domain is given ---------------------------------------------------------------------


def test_secrets_and_env_files(boot: Boot, tmp_path: Path) -> None:
    big = os.urandom(200_001)
    (tmp_path / "big").write_bytes(big)
    (tmp_path / "small").write_bytes(b"\0")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "env").write_text("FROM=file\nLONG=" + "v" * 9000 + "\n")
    text = """
import floe, hashlib, os
print(hashlib.sha256(floe.secret("big")).digest().hex(), floe.secret("small"), floe.secret("empty"))
print(os.getenv("FROM"), len(os.getenv("LONG")))
"""
    secrets = {name: tmp_path / name for name in ("big", "small", "empty")}
    vm = boot(script(tmp_path, text), deadline_s=60, secrets=secrets, env_files=[tmp_path / "env"])
    assert vm.wait() == 0, vm.console_text
    assert vm.console_text == f"{hashlib.sha256(big).hexdigest()} b'\\x00' b''\nfile 9000\n"
    assert big[:100].hex() not in the_lab.xen_log_tail(1000)


def test_a_port_is_forwarded(boot: Boot) -> None:
    vm = boot("web", deadline_s=90)
    vm.expect_exact("serving on port 80")
    url = f"http://127.0.0.1:{vm.ports[80]}/"

    def get() -> bytes:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bytes(answer.read())

    assert b"<html" in get().lower()


def test_a_disk_survives_xl_destroy(boot: Boot, tmp_path: Path) -> None:
    folder = tmp_path / "keeper"
    folder.mkdir()
    (folder / "image.toml").write_text('name = "keeper"\ndisks = true\n')
    (folder / "main.py").write_text("""
import os, time
print("found", sorted(os.listdir("/")))
with open("/kept", "w") as f:
    f.write("x" * 10000)
os.sync()
print("written")
time.sleep(100)
""")
    wanted = [f"{tmp_path / 'disk.img'}:size=1M"]
    first = boot(folder, deadline_s=90, disks=wanted)
    first.expect_exact("written")
    (name,) = domains()
    the_lab.call(f"xl destroy {name}")
    with pytest.raises(Exception, match="destroyed from outside"):
        first.wait()
    second = boot(folder, deadline_s=90, disks=wanted)
    second.expect_exact("found ['kept']")
    second.stop()
    qemu = boot(folder, deadline_s=60, disks=wanted, hypervisor="qemu")
    qemu.expect_exact("found ['kept']")


# ---- xl on a domain -----------------------------------------------------------------------------


def test_pause_and_unpause(boot: Boot, tmp_path: Path) -> None:
    vm = boot(script(tmp_path, TICKS), deadline_s=60)
    vm.expect_exact("tick 3")
    (name,) = domains()
    the_lab.call(f"xl pause {name}")
    vm.pump(lambda: False, 0.5)  # what was on its way
    at = vm.console_text
    vm.pump(lambda: False, 1)
    assert vm.console_text == at
    the_lab.call(f"xl unpause {name}")
    vm.expect_exact(f"tick {at.count('tick') + 2}\n")


def test_xl_shutdown_interrupts_the_script(boot: Boot, tmp_path: Path) -> None:
    text = "import sys, time\nprint('ready')\ntry:\n    time.sleep(100)\nexcept KeyboardInterrupt:\n    sys.exit(7)\n"
    vm = boot(script(tmp_path, text), deadline_s=60)
    vm.expect_exact("ready")
    (name,) = domains()
    the_lab.call(f"xl shutdown {name}")
    assert vm.wait() == 7


def test_xl_reboot_starts_it_again(boot: Boot, tmp_path: Path) -> None:
    vm = boot(script(tmp_path, TICKS), deadline_s=90)
    vm.expect_exact("tick 1")
    (name,) = domains()
    the_lab.call(f"xl reboot {name}")
    vm.pump(lambda: vm.resets == 1, 30)
    vm.expect_exact("ready")
    assert list(domains()) == [name]


def test_ten_at_once(boot: Boot, tmp_path: Path) -> None:
    app = script(tmp_path, "import sys\nprint('ready')\nsys.exit(len(sys.stdin.readline()))\n")
    vms = [boot(app, deadline_s=240, memory="8M") for _ in range(10)]
    for vm in vms:
        vm.expect_exact("ready")
    assert len(domains()) == 10
    for n, vm in enumerate(vms):
        vm.send(b"x" * n + b"\r")
    assert [vm.wait() for vm in vms] == list(range(1, 11))


# ---- detached -----------------------------------------------------------------------------------


def test_a_detached_board(vms: Vms, tmp_path: Path) -> None:
    told = vms.run(
        "--hypervisor",
        "xen",
        "--dev",
        "--name",
        "xboard",
        "--console-port",
        "0",
        script(tmp_path, "print('the script has run')\n"),
    )
    assert (told["hypervisor"], told["accel"], told["machine"], told["state"]) == ("xen", "xen", "pvh", "running")
    until(lambda: ">>> " in log("xboard"), "the REPL")
    assert floe("exec", "xboard", "import sys; print(sys.platform, 6 * 7)").stdout == "floe 42\n"
    (tmp_path / "file").write_bytes(bytes(range(256)) * 40)
    assert floe("cp", tmp_path / "file", "xboard:/file").returncode == 0
    assert floe("cp", "xboard:/file", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    for endpoint in ("pty", "socket"):
        done = subprocess.run(
            [str(MPREMOTE), "connect", told[endpoint], "eval", "sum(open('/file', 'rb').read())"],
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, f"{sum(range(256)) * 40}\n"), done.stderr
    assert " xen " in floe("ps").stdout
    assert "the script has run\n" in floe("logs", "xboard", errors="replace").stdout
    stopped = floe("stop", "xboard")
    assert stopped.returncode == 0, stopped.stderr
    assert ps("xboard")["state"] == "ended"


def test_swap_and_mount(vms: Vms, tmp_path: Path) -> None:
    app, new, shown = tmp_path / "app", tmp_path / "value.py", tmp_path / "shown"
    for folder in (app, shown):
        folder.mkdir()
    (app / "image.toml").write_text('main = "main.py"\n')
    (app / "main.py").write_text(
        "import asyncio, value\nasync def main():\n    while True:\n        print('value', value.get())\n"
        "        await asyncio.sleep_ms(100)\nasyncio.run(main())\n"
    )
    (app / "value.py").write_text("def get():\n    return 1\n")
    new.write_text("def get():\n    return 2\n")
    (shown / "hey.py").write_text("print('mounted', 6 * 7)\n")
    vms.run("--hypervisor", "xen", "--dev", "--name", "xswap", app)
    until(lambda: "value 1" in log("xswap"), "the first value")
    done = floe("swap", "xswap", "value", new)
    assert done.returncode == 0, done.stderr
    until(lambda: "value 2" in log("xswap"), "the other value")
    assert (
        "mounted 42\n"
        in floe("mount", "xswap", shown, "exec", "import sys; sys.path.append('/remote'); import hey").stdout
    )


def test_a_detached_domain_starts_again_and_its_code_is_kept(vms: Vms, tmp_path: Path) -> None:
    text = "import machine, sys\nprint(machine.reset_cause())\nif machine.reset_cause() == 1:\n    machine.reset()\nsys.exit(9)\n"
    vms.run("--hypervisor", "xen", "--name", "xagain", script(tmp_path, text))
    until(lambda: ps("xagain")["state"] != "running", "its end", 60)
    assert (ps("xagain")["exit_code"], ps("xagain")["cause"]) == (9, "exit")
    assert log("xagain") == "1\n2\n"


def test_a_domain_that_ends_is_started_again_by_policy_and_by_hand(vms: Vms, tmp_path: Path) -> None:
    """With the same secret and the same card, and never two domains at once."""
    text = "import floe, network, sys\nprint(floe.secret('word'), network.LAN().config('mac').hex())\nsys.exit(7)\n"
    (tmp_path / "word").write_text("w")
    vms.run(
        "--hypervisor", "xen", "--name", "xpolicy", "--restart", "on-failure:1", "--secret", f"word={tmp_path}/word",
        script(tmp_path, text),
    )  # fmt: skip
    until(lambda: not ps("xpolicy")["state"].endswith("ing"), "its end", 120)
    assert (ps("xpolicy")["exit_code"], ps("xpolicy")["restarts"]) == (7, 1)
    done = floe("start", "xpolicy", timeout_s=120)
    assert done.returncode == 0, done.stderr
    until(lambda: not ps("xpolicy")["state"].endswith("ing"), "its end", 120)
    first, again, second, last, by_hand, *more = log("xpolicy").splitlines()
    assert first == second and first.startswith("b'w' ")
    assert again == "[floe: it ended with 7, exit; restart 1 in 0.1 s]"
    assert last.startswith("[floe: it ended with 7, exit, and is not started again")
    assert (by_hand, more) == ("[floe: started by floe start]", [first, again, second, last])
    assert not domains()


def test_a_killed_keeper_is_replaced(vms: Vms, tmp_path: Path) -> None:
    from floe.store import vmfolder

    vms.run("--hypervisor", "xen", "--name", "xkeeper", script(tmp_path, TICKS))
    until(lambda: "tick 2" in log("xkeeper"), "ticks")
    keeper = vmfolder.find("xkeeper").keeper
    assert keeper is not None
    keeper.signal(signal.SIGKILL)
    before = len(domains())
    until(lambda: vmfolder.find("xkeeper").keeper not in (None, keeper), "another keeper")
    seen = log("xkeeper").count("tick")
    until(lambda: log("xkeeper").count("tick") > seen + 2, "more ticks")
    assert before == len(domains()) == 1


def test_a_killed_process_leaves_no_domain(vms: Vms, tmp_path: Path) -> None:
    told = vms.run("--hypervisor", "xen", "--name", "xkilled", script(tmp_path, TICKS))
    until(lambda: "tick 2" in log("xkilled"), "ticks")
    assert len(domains()) == 1
    os.kill(told["pid"], signal.SIGKILL)
    until(lambda: not domains(), "the domain's end")
    until(lambda: ps("xkilled")["state"] != "running", "its end")
    assert ps("xkilled")["problem"] == "Xen was killed by SIGKILL"


def test_a_killed_command_leaves_no_domain(lab: None, tmp_path: Path) -> None:
    argv = [*FLOE, "run", "--hypervisor", "xen", str(script(tmp_path, TICKS))]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.kill()
    until(lambda: not domains(), "the domain's end")


# ---- this machine as a dom0 ----------------------------------------------------------------------


CHECK_RIGHTS = dom0.check_rights


@pytest.fixture
def local(lab: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine passes for a dom0: its `sh` is a program that takes each script to the lab's."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "xl").write_text("#!/bin/false\n")
    (tmp_path / "relay.py").write_text(RELAY)
    words = shlex.join([sys.executable, str(tmp_path / "relay.py")])  # no #! line: its path may have a blank
    (tools / "sh").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (tmp_path / "capabilities").write_text("control_d\n")
    monkeypatch.setattr(dom0, "_CAPABILITIES", tmp_path / "capabilities")
    monkeypatch.setattr(dom0, "check_rights", lambda: None)  # the lab lets everyone
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


RELAY = """
import os, select, socket, sys
from floe.xenlab import lab
there = lab.connect(sys.argv[2])
wanted = [0, there]
while there in wanted:
    for ready in select.select(wanted, [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else there.recv(65536)
        if not data:
            wanted.remove(ready)
            if ready == 0:
                there.shutdown(socket.SHUT_WR)
        elif ready == 0:
            there.sendall(data)
        else:
            try:
                os.write(1, data)
            except OSError:
                pass  # nobody is left who reads, and the script goes on
"""


def test_in_a_dom0(boot: Boot, local: None, tmp_path: Path) -> None:
    vm = boot(script(tmp_path, "import sys\nprint(sys.argv[1:])\nsys.exit(5)\n"), deadline_s=60, args=["a"])
    assert vm.argv[vm.argv.index("--place") + 1] == "dom0"
    assert vm.wait() == 5
    assert vm.console_text == "['a']\n"


def test_a_port_in_a_dom0(boot: Boot, local: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest's address, which from this machine only the lab reaches, is led there by the lab."""
    monkeypatch.setattr(places, "guest_address", lambda cards: GUEST)
    try:
        socket.create_server((GUEST, 80)).close()
    except PermissionError:
        pytest.skip("SKIP: port 80 is for root alone on this host")
    with the_lab.forward(GUEST, 80, "10.0.2.200", 80):
        vm = boot("web", deadline_s=120, ports=[80], net=["bridge:xenbr0,ip=10.0.2.200/24"])
        vm.expect_exact("serving on port 80")
        with urllib.request.urlopen(f"http://127.0.0.1:{vm.ports[80]}/", timeout=30) as answer:
            assert answer.status == 200


def test_a_port_of_a_guest_whose_address_is_not_known(boot: Boot, local: None) -> None:
    with pytest.raises(FloeError, match="the guest's address is not known") as e:
        boot("web", deadline_s=60, ports=[80]).wait()
    assert e.value.hint == "--net bridge:xenbr0,ip=ADDR/BITS,gw=ADDR"


def test_in_a_dom0_only_root_may(lab: None, local: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(dom0, "check_rights", CHECK_RIGHTS)
    with pytest.raises(FloeError, match="only root"):
        places.choose()


# ---- floe export xl -----------------------------------------------------------------------------


def test_xl_takes_the_configuration_that_is_exported(lab: None, tmp_path: Path) -> None:
    """As it is, but for the path of the kernel, which is another machine's here."""
    elf = tmp_path / "hello.elf"
    assert floe("build", REPO / "images" / "hello", "-o", elf).returncode == 0
    exported = floe("export", "xl", REPO / "images" / "hello", "--kernel", elf)
    assert exported.returncode == 0, exported.stderr
    kernel = in_dom0.put(elf.read_bytes(), f"{in_dom0.FOLDER}/hello.elf")
    text = exported.stdout
    assert f'kernel="{elf}"\n' in text
    cfg = in_dom0.put(text.replace(str(elf), kernel).encode(), f"{in_dom0.FOLDER}/hello.cfg")
    log = f"{in_dom0.LOGS}/guest-hello.log"
    said = the_lab.call(f"rm -f {log}; xl create -F {cfg} 2>&1; cat {log}", deadline_s=60)
    assert "reason code 0 " in said
    assert "Action for shutdown reason code 0 is destroy" in said
    assert said.endswith("hello, world\n")


# ---- what cannot be -----------------------------------------------------------------------------


def test_no_memory_for_it(lab: None, tmp_path: Path) -> None:
    app = script(tmp_path, TICKS)
    cause, evidence, hint = failure("run", "--hypervisor", "xen", "--memory", "60000M", app, code=126)
    assert cause == "xl refused to create the domain"
    assert "xl: " in evidence
    assert hint.startswith("less --memory")


def test_where_there_is_no_xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    cause, _, hint = failure("run", "--hypervisor", "xen", script(tmp_path, TICKS), code=127)
    assert cause == "no Xen here: this machine is no dom0, and the lab is not up"
    assert hint.startswith("floe lab xen up")


@pytest.mark.parametrize(
    "words, cause",
    [
        (("--net", "tap:t0"), "not under Xen"),
        (("--net", "listen:/tmp/s"), "not under Xen"),
        (("--machine", "q35"), "--accel and --machine are QEMU's"),
        (("--net", "bridge:nowhere"), "the Xen lab's dom0 has no bridge nowhere"),
    ],
)
def test_what_is_qemu_s(lab: None, tmp_path: Path, words: tuple[str, ...], cause: str) -> None:
    said, _, _ = failure("run", "--hypervisor", "xen", *words, script(tmp_path, "import network\n"), code=125)
    assert cause in said
