# SPDX-License-Identifier: MIT
"""`floe service`: the unit is systemd's to read, its words are those that were given, and what it runs ends in order."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from floe.errors import UsageError
from floe.spec import systemd
from tests.support.command import failure, floe
from tests.support.vms import Vms

SERVES = """
import asyncio, machine

async def main():
    print(machine.unique_id().hex())
    await asyncio.sleep(60)

asyncio.run(main())
"""
ODD = "a b$c%d\u00fc\"q'\\"


@pytest.fixture
def folder(vms: Vms, tmp_path: Path) -> Path:
    """Where a script and its files lie, under a name that has all that means something to systemd."""
    path = tmp_path / ODD
    path.mkdir()
    (path / "my app.py").write_text("import floe, os, sys\nprint(sys.argv[1:], os.getenv('A'), floe.secret('key'))\n")
    (path / "key").write_text("k")
    (path / "env").write_text("B=1\n")
    return path


def lines(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def words(text: str) -> list[str]:
    """As systemd reads them: systemd.syntax(7), where no escape but of quotes and backslashes is used."""
    return [word.replace("%%", "%") for word in shlex.split(text)]


def verify(unit: str, folder: Path) -> None:
    """systemd has nothing to say about it."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("SKIP: systemd-analyze is not installed")
    path = folder / "under-test.service"
    path.write_text(unit)
    done = subprocess.run(
        [analyze, "verify", "--man=no", path], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if "under-test" in line and "Special user nobody" not in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_a_unit_of_everything(folder: Path, tmp_path: Path) -> None:
    given = [
        "--memory", "16M", "-p", "8080:80", "--disk", "d%1.img:size=1M", "--disk", "rw.img", "--disk", "ro.img:ro", "--env", 'A=$x "y" %n \\',
        "--env-file", "env", "--secret", "key=key", "--net", "user,ip=10.0.2.20/24", "--restart", "always:3", "--dev",
    ]  # fmt: skip
    done = floe("service", "--user", "nobody", *given, "my app.py", "--", "--restart", ";", "a;b", "$HOME", cwd=folder)
    assert done.returncode == 0, done.stderr
    unit = done.stdout
    (start,) = lines(unit, "ExecStart")
    assert start.startswith(":")  # no variables of systemd's
    program, *rest = words(start[1:])
    assert os.access(program, os.X_OK) and os.path.isabs(program)
    assert rest == [
        "run", "--dev", "--memory", "16M", "--publish", "8080:80", "--net", "user,ip=10.0.2.20/24",
        "--disk", f"{folder}/d%1.img:size=1M", "--disk", f"{folder}/rw.img", "--disk", f"{folder}/ro.img:ro",
        "--env", 'A=$x "y" %n \\', "--env-file", f"{folder}/env", "--secret", f"key={folder}/key",
        f"{folder}/my app.py", "--", "--restart", ";", "a;b", "$HOME",
    ]  # fmt: skip
    assert (lines(unit, "Restart"), lines(unit, "StartLimitBurst")) == (["always"], ["4"])
    assert (lines(unit, "User"), lines(unit, "KillMode"), lines(unit, "Description")) == (
        ["nobody"],
        ["mixed"],
        ["my-app, a VM of floe's"],
    )
    writable = [words(text)[0] for text in lines(unit, "ReadWritePaths")]
    assert writable[:2] == [f"-{folder}", f"-{folder}/rw.img"]
    assert lines(unit, "DeviceAllow") == ["/dev/kvm rw"]
    verify(unit, tmp_path)


def test_what_an_option_takes_the_unit_allows(folder: Path, tmp_path: Path) -> None:
    app = folder / "my app.py"
    plain = floe("service", "--user", "nobody", app).stdout
    assert (lines(plain, "Restart"), lines(plain, "NoNewPrivileges")) == (["on-failure"], ["yes"])
    assert (lines(plain, "CapabilityBoundingSet"), lines(plain, "AmbientCapabilities")) == ([""], [])
    low = floe("service", "--user", "nobody", "-p", "80:80", app).stdout
    assert lines(low, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]
    tap = floe("service", "--net", "tap:tap0", app).stdout
    assert lines(tap, "DeviceAllow") == ["/dev/kvm rw", "/dev/net/tun rw", "/dev/vhost-net rw"]
    bridge = floe("service", "--user", "nobody", "--net", "bridge:br0", app).stdout
    assert (lines(bridge, "NoNewPrivileges"), lines(bridge, "CapabilityBoundingSet")) == ([], [])
    xen = floe("service", "--hypervisor", "xen", app).stdout
    assert lines(xen, "DevicePolicy") == lines(xen, "ProtectSystem") == []
    never = floe("service", "--restart", "no", "--name", "one", app).stdout
    assert (lines(never, "Restart"), lines(never, "StateDirectory")) == (["no"], ["one"])
    for unit in (plain, low, tap, bridge, xen, never):
        verify(unit, tmp_path)


def test_files_in_tmp_are_not_hidden() -> None:
    unit = systemd.Unit(name="a", command=["/bin/true"], user="root", private_tmp=False)
    assert "PrivateTmp=no" in str(unit)


def test_the_unit_of_a_detached_vm(vms: Vms, folder: Path, tmp_path: Path) -> None:
    """It is what runs: the options, the identity, the files; and the command starts and ends as systemd has it."""
    script = folder / "serve.py"
    script.write_text(SERVES)
    told = floe("run", "-d", "--name", "web", "--memory", "16M", "--restart", "on-failure:2", "serve.py", cwd=folder)
    assert told.returncode == 0, told.stderr
    done = floe("service", "web", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verify(done.stdout, tmp_path)
    assert lines(done.stdout, "User") == [pwd.getpwuid(os.geteuid()).pw_name]
    (start,) = lines(done.stdout, "ExecStart")
    command = words(start[1:])
    assert command[1:2] + command[4:] == ["run", "--memory", "16M", str(script)]
    assert command[2] == "--uuid"
    assert lines(done.stdout, "StartLimitBurst") == ["3"]
    assert floe("rm", "--force", "web").returncode == 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd="/") as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline().strip() == command[3].replace("-", "")
            service.send_signal(signal.SIGTERM)
            assert service.wait(timeout=30) == 0
        finally:
            service.kill()


def test_what_is_refused(vms: Vms, folder: Path) -> None:
    app = str(folder / "my app.py")
    assert failure("service", "nothere", code=127, cwd=folder) == (
        "no such file or folder, and no VM of this name: nothere", "", "floe ps --all",
    )  # fmt: skip
    assert (
        failure("service", "--user", "no-such-user", app, code=127)[0] == "--user no-such-user: there is no such user"
    )
    assert failure("service", "--secret", "key=none", app, code=127)[0] == "--secret key: no such file: none"
    assert failure("service", "--secret", "key=/dev/null", app, code=125)[0].startswith(
        "/dev/null: not a file that can be read"
    )
    assert failure("service", "--memory", "x", app, code=125)[0].startswith("--memory x: ")
    assert failure("service", "-p", "x", app, code=125)[0] == "-p x: not a port forward"
    assert failure("service", "--restart", "x", app, code=125)[0] == "--restart x: no such policy"
    assert (
        failure("service", "--env", "A=x\ny", app, code=125)[0]
        == "'A=x\\ny' has a control character, which no unit can hold"
    )
    told = floe("run", "-d", "--name", "web", "--env-file", "env", "my app.py", "--secret", "key=key", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert failure("service", "--memory", "16M", "web", code=125) == (
        "web is a detached VM, and has its options", "", "for an app of that name: floe service ./web ...",
    )  # fmt: skip


def test_a_name_that_no_unit_can_hold() -> None:
    with pytest.raises(UsageError, match="control character"):
        systemd.quoted("a\nb")
    assert systemd.quoted("100%") == "100%%" or systemd.quoted("100%") == '"100%%"'
    assert systemd.quoted("") == '""'
