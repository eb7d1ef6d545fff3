# SPDX-License-Identifier: MIT
"""tools/floe/fleet/survey.py and `floe hosts`: what hosts are told of, and what is said of those that do not answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from floe.cli import main as cli
from floe.errors import FloeError, HostError
from floe.fleet import connection, survey
from floe.fleet.survey import Facts, Trial
from floe.hosts import table
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts


def test_the_command(known: LibvirtHosts, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["hosts"]) == 0
    out, err = capfd.readouterr()
    heads, *rows = [line.split() for line in out.splitlines()]
    assert err == ""
    assert (heads[:3], heads[-2:]) == (["NAME", "STATE", "LIBVIRT"], ["VMS", "BOOTS"])
    assert [row[:2] for row in rows] == [[EAST, "up"], [WEST, "up"]]
    assert all(re.search(r" 0 +(kvm [0-9.]+s, )?tcg [0-9.]+s$", line) for line in out.splitlines()[1:])
    assert known.run(EAST, "virsh", "list", "--all", "--name").strip() == ""  # nothing is left of the trials

    assert cli.run(["hosts", "--no-boot", "--json", WEST]) == 0
    (told,) = json.loads(capfd.readouterr().out)
    assert (told["name"], told["uri"], told["up"]) == (WEST, "qemu+ssh://west/system", True)
    assert told["hypervisor"] == "QEMU" and told["cpus"] >= 1 and 0 < told["free"] < told["memory"]
    assert "tcg" in told["accelerators"] and abs(told["skew"]) < survey.SKEW_S
    assert cli.run(["hosts", "nobody"]) == 127


def test_one_that_is_down(known: LibvirtHosts, capfd: pytest.CaptureFixture[str]) -> None:
    table.add("south", f"qemu+ssh://{known.addresses[EAST]}:1/system")
    try:
        assert cli.run(["hosts", "--no-boot"]) == 126
        out, err = capfd.readouterr()
        assert [line.split()[:2] for line in out.splitlines()[1:]] == [[EAST, "up"], [WEST, "up"], ["south", "down"]]
        assert err.startswith("floe: south is not reached: ssh: connect to host ")
        assert "\n  try: ssh " in err
        assert cli.run(["hosts", "--json", "south"]) == 126
        (told,) = json.loads(capfd.readouterr().out)
        assert told["up"] is False and told["problem"].startswith("south is not reached: ") and told["hint"]
    finally:
        table.remove("south")


def test_a_clock_that_is_ahead(known: LibvirtHosts, capfd: pytest.CaptureFixture[str]) -> None:
    date = known.folder / "date"  # which a host sees, whatever its root is
    date.write_text("#!/bin/sh\necho 4000000000\n")
    date.chmod(0o755)
    path = known.run(WEST, "readlink", "-f", "/usr/bin/date").strip()
    known.run(WEST, "mount", "--bind", str(date), path)
    try:
        assert cli.run(["hosts", "--no-boot"]) == 0
    finally:
        known.run(WEST, "umount", path)
    said = capfd.readouterr().err
    assert said.startswith("floe: west's clock is ") and said.endswith(" s ahead of this machine's\n")


def test_what_differs() -> None:
    facts = Facts(0.1, "9.0.0", "QEMU", "7.2.22", 2, 1 << 30, 1 << 29, ("kvm",), skew=0.3)
    newer = replace(facts, version="10.0.0", skew=-60.4)
    down = HostError("down")
    assert survey.differences({"a": facts, "b": facts, "c": down}) == []
    assert survey.differences({"a": facts, "b": newer, "c": facts, "d": down}) == [
        "b's clock is 60 s behind this machine's",
        "the hypervisors differ, between which no VM moves (a, c: QEMU 7.2.22; b: QEMU 10.0.0)",
    ]


def test_a_boot_that_fails(known: LibvirtHosts) -> None:
    def boot(host: connection.Host, accel: str) -> float:
        if accel == "kvm":
            raise FloeError("no such thing")
        return 0.25

    facts = survey.look([EAST], boot)[EAST]
    assert isinstance(facts, Facts)
    assert facts.trials["tcg"] == Trial(0.25)
    if "kvm" in facts.accelerators:
        assert facts.trials["kvm"] == Trial(0.0, "no such thing")
