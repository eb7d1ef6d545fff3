# SPDX-License-Identifier: MIT
"""`base` in image.toml: whose modules, main script and keys an image gets. Error texts: tests/errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.build import bases, pipeline
from floe.build.config import ImageConfig, load
from floe.cli import main as cli
from floe.errors import ConfigError


def image(folder: Path, text: str, **files: str) -> Path:
    folder.mkdir()
    (folder / "image.toml").write_text(text)
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    return folder


BOTTOM = """
name = "bottom"
version = "7"
memory = "16M"
ports = ["8080:80"]
wants = ["part.py"]

[env]
A = "1"
B = "2"

[budget]
elf = "1"

[variant.tls]
memory = "64M"
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """An image `top` on `middle` on `bottom`."""
    image(tmp_path / "bottom", BOTTOM, main="import part, low\nprint(part.NAME, low.NAME)\n", low='NAME = "bottom"')
    (tmp_path / "bottom/data").mkdir()
    (tmp_path / "bottom/part.py").write_text("NAME = 'bottom'")
    image(tmp_path / "middle", 'base = "../bottom"\nports = []', part="NAME = 'middle'")
    return image(tmp_path / "top", f'base = "{tmp_path}/middle"\nmemory = "8M"\n[env]\nB = "3"\n', low='NAME = "top"')


def test_what_an_image_takes(stack: Path) -> None:
    c: ImageConfig = load(stack)
    bottom, middle = stack.parent / "bottom", stack.parent / "middle"
    assert (c.name, c.version, c.memory, c.env, c.ports) == ("top", "0", 8 << 20, {"A": "1", "B": "3"}, ())
    assert (c.main, c.folder, c.bases) == (bottom / "main.py", stack, (middle, bottom))
    assert (c.budget_elf, c.data, c.wants) == (0, None, ())
    assert load(middle).memory == 16 << 20
    with pytest.raises(Exception, match="--variant tls"):
        load(stack, "tls")


def test_modules_come_from_the_nearest(stack: Path) -> None:
    built = pipeline.build(stack)
    frozen = {file["name"]: file["origin"] for file in built.image.content["frozen"]}
    assert frozen["low.py"] == "app" and frozen["part.py"] == "base" and frozen["main.py"] == "app"
    assert built.warnings == ()  # to take the place of a base's module is what a base is for


def test_what_is_wrong_in_a_base_is_told_by_its_name(stack: Path) -> None:
    (stack.parent / "bottom/image.toml").write_text('memory = "x"')
    with pytest.raises(ConfigError, match=r"bottom/image\.toml"):
        load(stack)


def test_circles_and_heights(stack: Path, tmp_path: Path) -> None:
    (stack.parent / "bottom/image.toml").write_text('base = "../top"')
    with pytest.raises(ConfigError, match="is built on this image"):
        load(stack)
    for number in range(12):
        image(tmp_path / f"n{number}", f'base = "../n{number + 1}"')
    with pytest.raises(ConfigError, match="more than 8 bases"):
        load(tmp_path / "n0")


def test_a_type_that_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["build", str(image(tmp_path / "x", "base = 5", main="")), "-o", str(tmp_path / "x.elf")]) == 125
    assert "base: expected `str`, got `int`" in capfd.readouterr().err


def test_floes_own_images_go_by_name() -> None:
    assert bases.find(Path("/nowhere"), "web", (), "image.toml") == bases.IMAGES / "web" / "image.toml"
