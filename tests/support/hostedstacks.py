# SPDX-License-Identifier: MIT
"""A stack on hosts for tests, in one folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from floe.compose import hosted, hostedup, stackfile
from floe.compose.hosted import Fleet
from floe.errors import HostError
from floe.fleet.mark import Mark
from floe.fleet.survey import Facts
from floe.fleet.vms import There, Vms, environment_of
from floe.image import elf
from floe.spec.runoptions import RunOptions
from floe.vm.plan import assemble, identity
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


BOTH = (EAST, "s.a.1", 1.0, True), (WEST, "s.a.2", 1.0, True)


class Told(Fleet):
    """What hosts would say: of each VM its host, its name, when it was started, and whether it runs."""

    def __init__(self, image: Path, *vms: tuple[str, str, float, bool], down: str = "") -> None:
        names = [name for name in (EAST, WEST) if name != down]
        self.hosts = {name: cast("Vms", SimpleNamespace(host=SimpleNamespace(name=name))) for name in names}
        self.rooms = {name: Facts(0, "", "", "", 1, 1 << 30, 1 << 30, ()) for name in names}
        self.down = {down: HostError(f"{down} is not reached")} if down else {}
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        self.vms = []
        for host, name, created, runs in vms:
            spec = assemble(elf.read(image), None, RunOptions(uuid=identity(f"{host}/{name}"), accel="tcg"))[0]
            own = environment_of(spec, ())
            service, _, replica = name.partition(".")[2].partition(".")
            told = Mark(app="a", profile="sealed", image=digest, memory=spec.memory, created=created, environment=own,
                        project="s", service=service, replica=int(replica or 0))  # fmt: skip
            self.vms.append(There(host, name, spec.uuid, told, "running" if runs else "ended", "tcg", "microvm"))
