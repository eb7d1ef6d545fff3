# SPDX-License-Identifier: MIT
"""`floe compose graph`: a picture that is XML, holds what the file says as text, and is the same each time."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from floe.cli import main as cli
from floe.compose import graph, stackfile
from floe.store.stackfolder import Placed, Stack

SVG = "{http://www.w3.org/2000/svg}"
FULL = """
name = "shop"
[vm.proxy]
app = "images/web"
ports = ["8080:80", "0.0.0.0:8443-8445:443-445", "0:53/udp"]
after = ["web", "db"]
networks = ["front"]
ready = { port = 80 }
restart = "always"
[vm.web]
app = "web<&>.py"
memory = "64M"
replicas = 3
after = ["migrate"]
networks = ["front", "back"]
ready = { line = "<script>\\" & \\u001b[2J ü 漢字 %s" }
[vm.db]
app = "db.py"
networks = { back = "10.101.0.9" }
[vm.migrate]
app = "job.py"
after = ["db"]
networks = ["back"]
ready = { exit = 0 }
[vm.debug]
app = "tool.py"
profiles = ["debug"]
networks = ["lan"]
[network.front]
[network.back]
subnet = "10.101.0.0/24"
[network.lan]
bridge = "br0"
""" % ("long" * 100)


def load(folder: Path, text: str = FULL) -> stackfile.StackFile:
    (folder / "compose.toml").write_text(text)
    return stackfile.load(folder, {})


def texts(picture: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def rectangles(picture: ElementTree.Element) -> list[tuple[float, ...]]:
    """Of VMs: left, top, right, bottom."""
    found = []
    for group in picture.iter(f"{SVG}g"):
        box = group.find(f"{SVG}rect")
        assert box is not None
        x, y, width, height = (float(box.get(key, "")) for key in ("x", "y", "width", "height"))
        found.append((x, y, x + width, y + height))
    return found


def test_what_the_file_says_is_on_it(tmp_path: Path) -> None:
    file = load(tmp_path)
    made = graph.svg(file, {}, {})
    assert made == graph.svg(load(tmp_path), {}, {})
    picture = ElementTree.fromstring(made.encode())
    assert picture.tag == f"{SVG}svg"
    said = texts(picture)
    for word in (
        "proxy", "port 8080 \u2192 80", "port 0.0.0.0 8443-8445 \u2192 443-445", "port any \u2192 53/udp", "memory 64M",
        "3 replicas", "ready: port 80 answers", "ready: ends with 0", "restart always", "profile debug", "app web<&>.py",
    ):  # fmt: skip
        assert word in said
    assert "network back  10.101.0.0/24, names at 10.101.0.1" in said
    assert "network lan  addresses leased, bridge br0" in said
    assert {"front", "back", "back 10.101.0.9", "lan"} <= set(said)  # cards
    (line,) = (text for text in said if text.startswith("ready: says"))
    assert line.startswith('ready: says <script>" & ^[[2J \u00fc \u6f22\u5b57 long')
    assert line.endswith("\u2026")
    # Nothing in it acts or is fetched.
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= {
        "svg", "title", "style", "defs", "marker", "path", "rect", "circle", "g", "text",
    }  # fmt: skip
    assert len(re.findall("https?:", made)) == 1  # the name space
    assert "prefers-color-scheme: dark" in made
    wires = [path.get("class") for path in picture.iter(f"{SVG}path")]
    assert (wires.count("wire"), wires.count("after")) == (6, 4)


def test_nothing_lies_on_another(tmp_path: Path) -> None:
    picture = ElementTree.fromstring(graph.svg(load(tmp_path), {}, {}).encode())
    width, height = float(picture.get("width", "")), float(picture.get("height", ""))
    boxes = rectangles(picture)
    assert len(boxes) == 5
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_vm_stands_right_of_those_it_comes_after(tmp_path: Path) -> None:
    file = load(tmp_path)
    boxes = dict(zip(file.vms, rectangles(ElementTree.fromstring(graph.svg(file, {}, {}).encode())), strict=True))
    for name, vm in file.vms.items():
        assert all(boxes[other][2] < boxes[name][0] for other in vm.after)


def test_what_is_up_is_in_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # where none of its VMs is
    file = load(tmp_path)
    stack = Stack(name="shop", file=str(file.file), vms={"shop.db": Placed(vm="db", aspects={}, ready=True)})
    stack.addresses = {"back": {"shop.db": "10.101.0.9", "shop.web.1": "10.101.0.2"}}
    assert graph.states(file, stack) == {"db": ("down", "not up")}
    assert graph.addresses(file, stack) == {"db": {"back": ["10.101.0.9"]}}
    states = {"db": ("up", "up"), "web": ("wait", "1 of 3 up")}
    picture = ElementTree.fromstring(graph.svg(file, states, {"web": {"back": ["10.101.0.2"]}}).encode())
    classes = [box.get("class") for group in picture.iter(f"{SVG}g") for box in group.iter(f"{SVG}rect")]
    assert classes == ["vm", "wait", "up", "vm", "vm"]
    assert {"up", "1 of 3 up", "back 10.101.0.9", "back 10.101.0.2", "front"} <= set(texts(picture))


def test_a_wire_begins_at_its_card(tmp_path: Path) -> None:
    text = FULL.replace("[network.back]", '[network.back]\ngateway = "10.101.0.9"\ndns = "10.9.9.9"')
    file = load(tmp_path, text)
    picture = ElementTree.fromstring(graph.svg(file, {}, {}).encode())
    assert "network back  10.101.0.0/24, gateway 10.101.0.9, names at 10.9.9.9" in texts(picture)
    cards = [(c.get("cx"), c.get("cy"), c.get("fill")) for c in picture.iter(f"{SVG}circle")]
    wires = [path for path in picture.iter(f"{SVG}path") if path.get("class") == "wire"]
    assert len(cards) == 6
    assert sorted(cards) == sorted(
        (*str(path.get("d")).removeprefix("M").partition("H")[0].split(), path.get("stroke")) for path in wires
    )
    (web,) = (group for group in picture.iter(f"{SVG}g") if group.get("id") == "vm-web")
    lines = {text.text: float(text.get("y", "")) for text in web.iter(f"{SVG}text")}
    plugs = [float(circle.get("cy", "")) for circle in web.iter(f"{SVG}circle")]
    assert [lines["front"] - 4, lines["back"] - 4] == plugs


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    file = load(tmp_path)
    assert cli.run(["compose", "graph", "."]) == 0
    said = capfd.readouterr()
    assert (said.out, said.err) == (graph.svg(file, {}, {}), "")
    assert cli.run(["compose", "graph", ".", "-o", "shop.svg"]) == 0
    assert (tmp_path / "shop.svg").read_text(encoding="utf-8") == said.out
    assert capfd.readouterr() == ("", "")
    assert cli.run(["compose", "graph", "--json", "compose.toml"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["name"] == "shop"
    assert facts["networks"]["lan"] == {"subnet": None, "bridge": "br0"}
    assert facts["vms"]["proxy"]["after"] == ["web", "db"]
    assert facts["vms"]["web"]["networks"] == ["front", "back"]
    assert facts["vms"]["db"]["state"] is None
    for where, code, words in (
        ("no/such/a.svg", 127, "cannot write no/such/a.svg: No such file or directory"), ("/dev/full", 125, "no file"),
        (".", 125, "is a folder"),
    ):  # fmt: skip
        assert cli.run(["compose", "graph", ".", "-o", where]) == code
        said = capfd.readouterr()
        assert words in said.err
        assert "  try: " in said.err
    assert cli.run(["compose", "graph", "nothing.toml"]) == 127
    assert "floe: no such file: " in capfd.readouterr().err


def test_the_smallest(tmp_path: Path) -> None:
    file = load(tmp_path, '[vm.a]\napp = "a.py"\n')
    picture = ElementTree.fromstring(graph.svg(file, {}, {}).encode())
    assert texts(picture) == ["a", "app a.py", "memory of the image"]
