# SPDX-License-Identifier: MIT
"""main.py with disks: `floe run --variant disk --disk FILE`. Sites and web.toml may lie on them."""

import service
import vfs  # noqa: F401 - a disk is mounted where this is imported
from reload import Reloader

service.run(80, None, Reloader)
