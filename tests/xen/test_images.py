# SPDX-License-Identifier: MIT
"""The images that serve, in domains beside one another."""

from __future__ import annotations

from pathlib import Path

from floe.testing import Boot
from tests.boot.everyimage import serve_them_all


def test_every_image_serves(boot: Boot, tmp_path: Path) -> None:
    serve_them_all(boot, tmp_path, 400)
