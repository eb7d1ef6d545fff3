# SPDX-License-Identifier: MIT
"""tools/floe/bench/page.py: one file that refers to nothing else, whose text is text, and that a browser shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from floe.bench import page, plots
from floe.bench.report import Run
from tests.tools.bench.benchresults import along_an_axis, without_an_axis

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
COLOURS = {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)}  # of the first two contenders in a picture


class Seen(HTMLParser):
    """Tags, what they refer to, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.refers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.refers += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered() -> str:
    run = Run("floe bench '<web>' & more", True, {"cpu": "a <CPU>"}, [along_an_axis(), without_an_axis()])
    run.skipped["dns"] = "<no dnsperf>"
    run.interrupted = True
    return page.render(run, {result.experiment.name: plots.of(result) for result in run.results})


def test_the_page_refers_to_nothing_and_its_text_is_text() -> None:
    text = rendered()
    seen = Seen(text)
    assert "script" not in seen.tags
    assert seen.tags.count("img") == 3
    assert all(place.startswith("data:image/svg+xml;base64,") for place in seen.refers)
    assert not re.search(r"url\(|@import|https?:", text)
    for words in ("floe bench '<web>' & more", "a <CPU>", "dns was not measured: <no dnsperf>", "<b>&amp;",
                  "Without nginx: it is not here.", "Failed: ours, round 7: it broke.", "floe run '<app>'",
                  "Interrupted: this is what was measured until then.", '"format": 1'):  # fmt: skip
        assert words in seen.text, words


def test_ratios_come_before_medians() -> None:
    text = rendered()
    assert 0 < text.index("Ratios of medians") < text.index("<caption>Medians")


def test_a_browser_shows_it_with_its_pictures(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("SKIP: chromium-headless-shell is not installed")
    (tmp_path / "bench.html").write_text(rendered())
    shot = tmp_path / "shot.png"
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
         "--window-size=1100,3000", f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}",
         (tmp_path / "bench.html").as_uri()],
        capture_output=True, text=True, timeout=300, check=False, env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, "the browser has refused something"
    with Image.open(shot) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert {colour for _, colour in colours} >= COLOURS
