# SPDX-License-Identifier: MIT
"""A router: routes, DHCP, router advertisements, names, NAT. README.md has the settings."""

import running
from gateway import counters, flows, routes, rules  # noqa: F401 - for the REPL of a dev image
from running import leases, reload, status  # noqa: F401 - the same

running.run()
