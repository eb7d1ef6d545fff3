# SPDX-License-Identifier: MIT
"""tools/floe/hosts/table.py and `floe host`: names of other hosts, and a file that people write, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floe.cli import main as cli
from floe.errors import NotFound, UsageError
from floe.hosts import ssh, table
from floe.hosts.table import LibvirtHost, SshHost


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "floe" / "hosts.toml"


def test_the_command(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def said(*words: str, code: int = 0) -> str:
        assert cli.run(["host", *words]) == code
        out, err = capfd.readouterr()
        assert bool(out) != bool(err)
        return out or err.partition("\n")[0].removeprefix("floe: ")

    assert said("ls") == "NAME  URI\n"
    assert said("add", "east", "ssh://ada@east.example:2222/opt/floe") == "east\n"
    assert said("add", "west", "ssh://[2001:db8::1]") == "west\n"
    config.write_text(f"# mine\n{config.read_text()}# the end\n")
    assert json.loads(said("ls", "--json")) == [
        {"name": "east", "uri": "ssh://ada@east.example:2222/opt/floe"},
        {"name": "west", "uri": "ssh://[2001:db8::1]"},
    ]
    assert said("add", "west", "ssh://w", code=125) == "there is a host west already"
    assert said("rm", "south", code=127) == "there is no host south"
    assert said("rm", "east") == "east\n"
    assert config.read_text() == '# mine\n[west]\nuri = "ssh://[2001:db8::1]"\n# the end\n'
    config.write_text("[west]\nuri = 3\n")
    assert said("ls", code=125) == f"{config}:2: west.uri: expected `str`, got `int`"


def test_what_ssh_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    table.add("east", "ssh://ada@east.example:2222/opt/my%20floe")
    table.add("west", "ssh://[2001:db8::1]")
    assert table.find("east") == SshHost("east", "east.example", "ada", 2222, "/opt/my floe")
    words = ssh.argv(table.find("east"), "exec x")
    assert words[0] == "ssh" and "BatchMode=yes" in words
    assert words[-7:] == ["-p", "2222", "-l", "ada", "--", "east.example", "exec x"]
    assert ssh.typed(table.find("east")) == "ssh -p 2222 -l ada -- east.example true"
    monkeypatch.setenv("FLOE_SSH", "other -F 'a file'")
    words = ssh.argv(table.find("west"), "exec x")
    assert words[:3] == ["other", "-F", "a file"]
    assert words[-3:] == ["--", "2001:db8::1", "exec x"]
    with pytest.raises(NotFound):
        table.find("north")


@pytest.mark.parametrize("uri", [
    "east", "ssh://", "http://east", "ssh://a:b@east", "ssh://-oProxyCommand=x", "ssh://-l@east", "ssh://e a", "ssh://e?x",
    "ssh://e:99999", "qemu://e/system", "qemu+ssh://e", "qemu+ssh:///system", "qemu+ssh://e/system?keyfile=x", "qemu:///",
    "qemu+ssh://-l@e/system", "qemu:///system?socket=/x", "qemu+unix:///system?socket=x", "qemu+unix:///system?no=/x",
    "qemu+unix:///system?socket=/x&no=y", "qemu+tcp://e/system", "qemu+:///system", "xen:///session", "lxc:///", "qemu+ssh",
])  # fmt: skip
def test_what_names_no_host(uri: str) -> None:
    with pytest.raises(UsageError):
        table.parse("x", uri)
    with pytest.raises(UsageError):
        table.add("-x", "ssh://east")


@pytest.mark.parametrize(("uri", "host"), [
    ("qemu:///session", LibvirtHost("x", "qemu", "session")),
    ("xen:///system", LibvirtHost("x", "xen", "system")),
    ("qemu+unix:///system", LibvirtHost("x", "qemu", "system")),
    ("qemu+unix:///system?socket=/a%20b/sock", LibvirtHost("x", "qemu", "system", socket="/a b/sock")),
    ("qemu+ssh://ada@east:22/session", LibvirtHost("x", "qemu", "session", ssh=SshHost("x", "east", "ada", 22))),
    ("xen+ssh://east/system", LibvirtHost("x", "xen", "system", ssh=SshHost("x", "east"))),
])  # fmt: skip
def test_libvirts(uri: str, host: LibvirtHost) -> None:
    assert table.parse("x", uri) == host
    table.add("x", uri)
    assert table.find_libvirt("x") == host
    if host.ssh is None:
        with pytest.raises(UsageError, match="no ssh leads there"):
            table.find("x")
    else:
        assert table.find("x") == host.ssh  # a floe there, for vm.fork()


def test_a_host_of_ssh_has_a_libvirt() -> None:
    table.add("east", "ssh://ada@east/opt/floe")
    found = table.find_libvirt("east")
    assert found == LibvirtHost("east", "qemu", "system", ssh=SshHost("east", "east", "ada", 0, "/opt/floe"))
    assert found.uri == "qemu:///system"
