# SPDX-License-Identifier: MIT
"""What the VMs of a stack on two hosts say, while they are started, end, and go with their host."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from floe.compose import hostlogs
from floe.compose.hosted import Fleet
from floe.fleet.console import LATER_S
from tests.support.command import FLOE
from tests.support.hostedstacks import FILE, Shop
from tests.support.libvirthosts import EAST, LibvirtHosts

PATIENCE_S = 90.0


class Said:
    """A `floe compose` that goes on, and what it says."""

    def __init__(self, *words: str | Path) -> None:
        self.process = subprocess.Popen(
            [*FLOE, "compose", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = b""

    def until(self, *parts: str) -> None:
        """Until it has said all of these."""
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE_S
        while not all(part.encode() in self.said for part in parts):
            left = max(0.0, end - time.monotonic())
            assert select.select([self.process.stdout], [], [], left)[0], self.said.decode()
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            assert more, self.said.decode()
            self.said += more

    def end(self) -> tuple[int, str]:
        """Its exit code and all that it said."""
        rest = self.process.communicate(timeout=PATIENCE_S)[0]
        return self.process.returncode, (self.said + rest).decode()


@pytest.mark.alone  # a guest that does not listen ends by itself 5 s after it was asked
def test_a_stack_on_two_hosts_attended(hosts: LibvirtHosts, tmp_path: Path) -> None:
    """Logs, a VM's end and a host's are told; Ctrl-C ends all and leaves nothing, and so does the end of all VMs."""
    shop = Shop(tmp_path / "a shop")
    # They end by themselves: with the first code that is not 0; what was said without an end of line is shown, too.
    (shop.folder / "job.py").write_text("import sys\nsys.stdout.write('done')\nraise SystemExit(3)\n")
    (shop.folder / "job.toml").write_text('name = "shop"\nhosts = ["east", "west"]\n[vm.job]\napp = "job.py"\n')
    code, said = Said("up", shop.folder / "job.toml").end()
    assert code == 3, said
    assert "job | done\n" in said
    assert len(re.findall(r"floe: job on (?:east|west) ended \(3, exit\)", said)) == 1
    assert shop.vms() == {}

    # One that does not end when it is asked to: a second Ctrl-C ends it at once.
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass\n"
    )
    (shop.folder / "job.py").write_text(f"print('here')\n{stubborn}")
    up = Said("up", "--timeout", "600", shop.folder / "job.toml")
    up.until("job | here")
    for said_before in ("is started on", "floe: ending the stack"):
        up.until(said_before)
        up.process.send_signal(signal.SIGINT)
    code, said = up.end()
    assert code == 130
    assert re.search(r"floe: job on (?:east|west) ended \(130, interrupt\)", said), said
    assert shop.vms() == {}

    # A VM that does not become ready ends what was started, and the error tells why.
    text = FILE.format(who="v1", replicas=1).replace('"serving v1"', '"never", within = 1')
    (shop.folder / "compose.toml").write_text(text)
    code, said = Said("up", shop.folder).end()
    assert code == 124, said
    assert "web.1 is not ready after 1 s" in said
    assert shop.vms() == {}

    shop.write(replicas=2)
    up = Said("up", shop.folder, "--timeout", "600")
    up.until("db    | serving None", "web.1 | serving v1", "web.2 | serving v1", "floe: web.2 is started on west")
    logs = Said("logs", "-f", "--json", shop.folder, "web.2")
    logs.until('{"vm": "web.2", "time": null, "line": "serving v1"}')
    with Fleet((EAST,)) as fleet:
        fleet.hosts[EAST].stop("shop.web.1", 0)
    up.until("floe: web.1 on east ended (130, interrupt)")
    hosts.kill(EAST)
    up.until("floe: east is not reached")
    logs.until("floe: east is not reached")
    assert logs.process.poll() is None  # the other one goes on
    up.process.send_signal(signal.SIGINT)
    code, said = up.end()
    assert code == 130
    assert "floe: ending the stack; again to end it at once" in said
    assert said.index("web.2 on west ended (1, exit)") < said.index("db on west ended (1, exit)")
    assert logs.end()[0] == 126
    assert shop.vms() == {}


def test_following_ends_where_each_look_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = cast("Fleet", SimpleNamespace(hosts={"east": None, "west": None}))
    follow = hostlogs.Follow(fleet, "s", (), lambda line: None)
    monkeypatch.setattr(follow, "_look", lambda vms, final: (time.sleep(4 * LATER_S), [])[1])
    running = threading.Thread(target=follow.run, daemon=True)
    running.start()
    running.join(60)
    assert not running.is_alive()
