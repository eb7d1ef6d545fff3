# SPDX-License-Identifier: MIT
"""The images that serve, under the QEMU that this machine has not installed: those of Debian 12 and 13 both count."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot.everyimage import serve_them_all


@pytest.mark.parametrize("each_qemu", ["second"], indirect=True)
def test_every_image_serves(boot: Boot, each_qemu: str, tmp_path: Path) -> None:
    serve_them_all(boot, tmp_path, 120)
