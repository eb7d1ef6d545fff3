# SPDX-License-Identifier: MIT
"""A firewall: what may go from which zone to which, by firewall.toml. README.md has the keys."""

import service
from gateway import counters, flows, routes, rules  # noqa: F401 - for a REPL beside it

service.run()
