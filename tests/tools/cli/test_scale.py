# SPDX-License-Identifier: MIT
"""`floe scale`: more replicas, fewer, none; who remembers the number, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import floe
from tests.support.stacks import Stacks, left


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stacks]:
    with Stacks(tmp_path, monkeypatch) as all_of_them:
        all_of_them.folder = tmp_path / "shop"
        all_of_them.folder.mkdir()
        yield all_of_them


def text(image: Path, replicas: int) -> str:
    return f'[vm.web]\napp = "{image}"\nreplicas = {replicas}\n[vm.db]\napp = "{image}"\nports = []\nargs = ["${{A:-1}}"]\n'


def test_more_and_fewer(stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "app.py"
    image.write_text("import time\nwhile True:\n    time.sleep(1)\n")
    stacks.write(text(image, 1))
    stacks.compose("up", "-d")
    first = stacks.ps()
    monkeypatch.setenv("A", "2")  # by which db would be another one
    assert floe("scale", "shop.web", "3").stderr == "floe: web.2 is started\nfloe: web.3 is started\n"
    monkeypatch.delenv("A")
    three = stacks.ps()
    assert set(three) == {"web.1", "web.2", "web.3", "db"}
    assert {label: three[label]["pid"] for label in first} == {label: vm["pid"] for label, vm in first.items()}
    assert floe("scale", "shop.web", "3").stderr == "floe: nothing to do: there are 3 of shop.web\n"

    # `up` keeps to it, as long as the file says what it said.
    assert stacks.compose("plan").stdout.count("keep") == 4
    assert "nothing to do" in stacks.compose("up", "-d").stderr
    assert floe("scale", "shop.web", "0").stderr.count("is removed: fewer replicas") == 3
    assert stacks.compose("plan").stdout.split() == ["keep", "db"]
    stacks.write(text(image, 2))
    assert stacks.compose("up", "-d").stderr == "floe: web.1 is started\nfloe: web.2 is started\n"
    stacks.write(text(image, 1))
    stacks.compose("up", "-d")
    assert set(stacks.ps()) == {"web.1", "db"}  # what was once said is forgotten

    for words, code, problem in (
        (("shop.db", "2"), 125, "shop.db is one VM, without replicas\n  try: replicas = 1 in [vm.db]"),
        (("shop.none", "2"), 127, "there is no VM none in "),
        (("shop.web", "65"), 125, "vm.web.replicas: 65 is not from 0 to 64"),
        (("none.web", "2"), 127, "no stack none is up\n  there are: shop"),
    ):
        done = floe("scale", *words)
        assert (done.returncode, problem in done.stderr) == (code, True), done.stderr
    stacks.compose("down", "--timeout", "0")
    assert left() == []
