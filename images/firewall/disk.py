# SPDX-License-Identifier: MIT
"""main.py with disks: `floe run --variant disk --disk FILE`. firewall.toml and rules in Python may lie on them, and are
read again when they change."""

import reload
import service
import vfs  # noqa: F401 - a disk is mounted where this is imported
from gateway import counters, flows, routes, rules  # noqa: F401 - for a REPL beside it

service.run(reload.Files())
