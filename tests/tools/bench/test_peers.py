# SPDX-License-Identifier: MIT
"""tools/floe/bench/peers.py: ours are read, and each mistake in a file is one sentence with its line and key."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from floe.bench import peers
from floe.errors import ConfigError, NotFound

GOOD = 'title = "A server"\nkind = "process"\nserves = ["json"]\ncommand = ["{python}", "{script}"]\n'
LINUX = GOOD.replace('"process"', '"linux"').replace("{python}", "{micropython}")


def written(tmp_path: Path, text: str, name: str = "mine.toml") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def test_ours_are_read_and_serve_what_is_measured() -> None:
    by_service = {service: {peer.name for peer in peers.chosen(service)} for service in peers.SERVICES}
    assert {"nginx", "linux-nginx", "micropython", "linux-micropython-tuned"} <= by_service["static"]
    assert {"cpython", "micropython", "linux-cpython"} <= by_service["json"]
    for file in peers.FOLDER.glob("*.toml"):
        assert peers.load(file).name == file.stem


def test_a_file_of_the_users_stands_behind_ours(tmp_path: Path) -> None:
    peer = peers.chosen("json", [written(tmp_path, GOOD + 'stop = "INT"\n')])[-1]
    assert (peer.name, peer.title, peer.here) == ("mine", "A server", str(tmp_path))
    assert peer.signal == signal.SIGINT
    assert "mine" not in {other.name for other in peers.chosen("static", [tmp_path / "mine.toml"])}


@pytest.mark.parametrize(("text", "words"), [
    (GOOD.replace("json", "gopher"), "serves: invalid enum value 'gopher'"),
    (GOOD.replace('"process"', '"jail"'), ":2: kind: invalid enum value 'jail'"),
    (GOOD.replace('serves = ["json"]', "serves = []"), ":3: serves: expected `array` of length >= 1"),
    (GOOD.replace("title = \"A server\"\n", ""), "missing required field `title`"),
    (GOOD + "speed = 3\n", ":5: speed: unknown key"),
    (GOOD + 'here = "/"\n', ":5: here: unknown key"),
    (GOOD + 'stop = "HUP"\n', ":5: stop: invalid enum value 'HUP'"),
    (GOOD + "ready_s = 0\n", ":5: ready_s: expected `float` > 0"),
    (GOOD + 'memory = "much"\n', ":5: memory: expected `str` matching regex"),
    (GOOD + 'name = "A B"\n', ":5: name: expected `str` matching regex"),
    (GOOD.replace("{script}", "{scrpt}"), ":4: command: {scrpt} stands for nothing; there are address,"),
    (GOOD.replace("{script}", "{tap}"), ":4: command: {tap} stands for nothing"),
    (GOOD + 'env = { A = "{b}" }\n', ":5: env: {b} stands for nothing"),
    (GOOD + 'files = ["nginx.conf"]\n', ":5: files: nginx.conf is no file beside mine.toml"),
    (GOOD + 'files = ["../passwd"]\n', ":5: files: ../passwd is no file beside mine.toml"),
    (GOOD + 'kernel = ["quiet"]\n', ":5: kernel: only a peer of kind linux has this"),
    (GOOD + 'packages = ["nginx"]\n', ":5: packages: only a peer of kind linux has this"),
    (LINUX + "ready_s = 5\n", ":5: ready_s: a peer of kind linux has none"),
    (LINUX + 'stop = "TERM"\n', ":5: stop: a peer of kind linux has none"),
    (LINUX + "stop_s = 5.0\n", ":5: stop_s: a peer of kind linux has none"),
    (LINUX.replace("{micropython}", "{python}"), ":4: command: {python} stands for nothing"),
    (GOOD + "command = [\n", "mine.toml:"),
])  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        peers.load(written(tmp_path, text))
    assert words in caught.value.message
    assert str(tmp_path / "mine.toml") in caught.value.message


def test_a_file_that_is_not_there_and_a_name_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"cannot read the peer .*none\.toml"):
        peers.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cpython: name: two peers"):
        peers.chosen("json", [written(tmp_path, GOOD, "cpython.toml")])


def test_what_stands_for_values_is_replaced_and_other_braces_stay() -> None:
    text = "server { listen {port}; } ${x} {redis-server}"
    assert peers.filled(text, {"port": "80", "redis-server": "/r"}) == "server { listen 80; } ${x} /r"
