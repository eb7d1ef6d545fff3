# SPDX-License-Identifier: MIT
"""Fixtures for every test, on top of those of floe.testing, which our own tests use as anybody's may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from floe import image
from floe.testing import Boot, BootOptions, Guest

__all__ = ["Boot", "BootOptions", "Guest"]

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def accel(floe_accel: str) -> str:
    """Each accelerator in turn; KVM is skipped, with the reason, where this host has none that works."""
    return floe_accel


@pytest.fixture(scope="session")
def build() -> Callable[..., Path]:
    """build(app, dev=False) -> ELF of an image's name ("hello"), a folder, a script, or an ELF as it is; built once."""
    built: dict[tuple[Path, bool], Path] = {}

    def build_once(app: str | Path, *, dev: bool = False) -> Path:
        path = REPO / "images" / app if isinstance(app, str) else app
        if path.suffix == ".elf":
            return path
        if (path, dev) not in built:
            built[path, dev] = image.build(path, profile="dev" if dev else "sealed").path
        return built[path, dev]

    return build_once


@pytest.fixture
def boot(boot: Boot) -> Boot:
    """floe.testing's `boot`, for apps by their names in images/ too, with the same memory for every image."""
    boot.defaults["memory"] = "32M"
    return boot
