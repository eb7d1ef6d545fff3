# SPDX-License-Identifier: MIT
"""Another release of upstream's beside the pinned one: which sources and patches it has, and where it is built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from floe.build import port_archive
from floe.errors import ConfigError
from floe.setup import __main__ as setup
from floe.setup.pins import load_pins

ENTRY = """
[[upstream]]
name = "{name}"
{release}
version = "{version}"
licence = "MIT"
[[upstream.origin]]
kind = "url"
url = "http://127.0.0.1:9/x"
file = "x"
sha256 = "{digest}"
"""
HEAD = "Fault: a\nUpstream: b\nTest: c\n"


def entry(name: str, version: str, release: str = "") -> str:
    return ENTRY.format(name=name, version=version, digest="0" * 64, release=f'release = "{release}"' * bool(release))


def pin_list(folder: Path, *entries: str) -> Path:
    path = folder / "upstream.toml"
    path.write_text("".join(entries))
    return path


def test_a_release_replaces_the_sources_of_the_same_name(tmp_path: Path) -> None:
    path = pin_list(tmp_path, entry("a", "1.25.0"), entry("a", "1.26.1", "next"), entry("b", "3"))
    assert [(pin.name, pin.version) for pin in load_pins(path)] == [("a", "1.25.0"), ("b", "3")]
    assert [(pin.name, pin.version) for pin in load_pins(path, "next")] == [("a", "1.26.1"), ("b", "3")]


@pytest.mark.parametrize(
    ("entries", "release", "words"),
    [
        ([entry("a", "1"), entry("a", "2", "next")], "nxt", "release: no release 'nxt'; there is: next"),
        ([entry("a", "1")], "next", "release: no release 'next'; there is: none"),
        (
            [entry("a", "1"), entry("a", "2", "../up")],
            "",
            "upstream[1].release: '../up' has more than lower-case letters",
        ),
        ([entry("a", "1"), entry("a", "2")], "", "upstream[1].name: a second 'a' of the same release"),
        ([entry("a", "1"), entry("a", "2", "next"), entry("a", "3", "next")], "", "upstream[2].name: a second 'a'"),
    ],
)
def test_wrong_releases(tmp_path: Path, entries: list[str], release: str, words: str) -> None:
    path = pin_list(tmp_path, *entries)
    with pytest.raises(ConfigError) as raised:
        load_pins(path, release)
    assert f"{path}: {words}" in raised.value.message


def test_setup_refuses_an_unknown_release(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FLOE_UPSTREAM", "nope")
    monkeypatch.setattr(setup, "install_packages", lambda wanted: None)
    monkeypatch.setattr(setup, "make_venv", lambda tests: None)
    assert setup.main([]) == 125
    said = capsys.readouterr().err
    assert "port/upstream.toml: release: no release 'nope'; there is: next" in said
    assert "FLOE_UPSTREAM names one of them, or is not set" in said
    assert not (port_archive.ROOT / "build" / "nope").exists()


def test_which_patches_a_release_gets(tmp_path: Path) -> None:
    path = pin_list(tmp_path, entry("a", "1.25.0"), entry("a", "1.26.1", "next"))
    folder = tmp_path / "patches" / "a"
    (folder / "next").mkdir(parents=True)
    texts = {
        "both": HEAD,
        "mended": HEAD + "Mended: 1.26.0\n",
        "later": HEAD + "Mended: 1.27.0\n",
        "rewritten": HEAD,
        "next/rewritten": HEAD + "# another\n",
        "next/newer": HEAD,
    }
    for name, text in texts.items():
        (folder / f"{name}.patch").write_text(text + "\n--- a/x\n+++ b/x\nMended: 1.0\n")

    def names(release: str) -> list[str]:
        (pin,) = load_pins(path, release)
        return [str(patch.path.relative_to(folder).with_suffix("")) for patch in pin.patches]

    assert names("") == ["both", "later", "mended", "rewritten"]
    assert names("next") == ["both", "later", "next/newer", "next/rewritten"]


def test_a_release_has_its_own_build_folder() -> None:
    code = "from floe.build import port_archive; print(port_archive.BUILD)"
    environment = os.environ | {"FLOE_UPSTREAM": "next"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{port_archive.ROOT / 'build' / 'next'}\n"


def test_the_port_is_made_from_a_releases_sources_in_its_folder(tmp_path: Path) -> None:
    for name in ("port", "modules"):
        (tmp_path / name).symlink_to(port_archive.ROOT / name)
    (tmp_path / "build" / "next").mkdir(parents=True)
    (tmp_path / "build" / "next" / "upstream").symlink_to(port_archive.UPSTREAM)
    flags = [f"build/next/port/sealed/app.{kind}" for kind in ("ldflags", "cflags")]
    argv = ["make", "-s", "-f", "port/port.mk", "FLOE_UPSTREAM=next", "PROFILE=sealed", *flags]
    subprocess.run(argv, cwd=tmp_path, check=True, timeout=60)
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["next"]
    text = "".join((tmp_path / file).read_text() for file in flags)
    assert "-T build/next/port/sealed/link.ld" in text
    assert "build/next/upstream/micropython" in text
    assert "build/upstream" not in text


def test_another_patch_has_the_port_made_anew(tmp_path: Path) -> None:
    for name in ("port", "modules"):
        (tmp_path / name).symlink_to(port_archive.ROOT / name)
    upstream = tmp_path / "build" / "upstream"
    upstream.mkdir(parents=True)
    for source in port_archive.UPSTREAM.iterdir():
        (upstream / source.name).symlink_to(source)
    argv = ["make", "-s", "-f", "port/port.mk", "PROFILE=sealed", "build/port/sealed/app.ldflags"]
    header = tmp_path / "build/port/sealed/genhdr/qstr.i.last"
    for made_anew in (False, True):
        subprocess.run(argv, cwd=tmp_path, check=True, timeout=60)
        header.parent.mkdir(exist_ok=True)
        header.write_text("")
        if made_anew:
            (upstream / "lwip").unlink()
            (upstream / "lwip").mkdir()
            (upstream / "lwip" / ".floe-pin").write_text("another\n")
        subprocess.run(argv, cwd=tmp_path, check=True, timeout=60)
        assert header.exists() != made_anew
