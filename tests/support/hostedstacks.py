# SPDX-License-Identifier: MIT
"""A stack on hosts for tests, in one folder."""

from __future__ import annotations

from pathlib import Path

from floe.compose import hosted, hostedup, stackfile
from floe.compose.hosted import Fleet
from floe.fleet.vms import There
from tests.support.command import floe
from tests.support.libvirthosts import EAST, WEST

SERVE = """
import os, time
print("serving", os.getenv("WHO"))
while True:
    time.sleep(1)
"""
FILE = """
name = "shop"
hosts = ["east", "west"]
[host.west]
labels = ["ssd"]
[vm.db]
app = "serve.py"
place = {{ label = "ssd" }}
ready = {{ line = "serving" }}
[vm.web]
app = "serve.py"
replicas = {replicas}
env = {{ WHO = "{who}" }}
after = ["db"]
ready = {{ line = "serving {who}" }}
"""


class Shop:
    """A stack in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "serve.py").write_text(SERVE)

    def write(self, *, who: str = "v1", replicas: int = 3, more: str = "") -> None:
        (self.folder / "compose.toml").write_text(FILE.format(who=who, replicas=replicas) + more)

    def compose(self, verb: str, *words: str, code: int = 0) -> tuple[str, str]:
        """As a user does it."""
        done = floe("compose", verb, self.folder, *words)
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout, done.stderr

    def up(self, said: list[str] | None = None, *, act: bool = True) -> list[tuple[str, str, str, str]]:
        """As `floe compose up`, or `plan`, and quicker: what was to be done. said: for what is told of it."""
        file = stackfile.load(self.folder, {})
        with Fleet(list(file.hosts)) as fleet:
            file = hosted.scaled(file, file.name, fleet)
            steps = hosted.plan(file, file.name, (), fleet, lambda text: None)
            if act:
                hostedup.Up(file, file.name, fleet, ([] if said is None else said).append).run(steps)
        return [(step.action, step.label, step.host, step.reason) for step in steps]

    def vms(self) -> dict[str, There]:
        """By label."""
        with Fleet((EAST, WEST)) as fleet:
            return {vm.name.removeprefix("shop."): vm for vm in fleet.of("shop")}
