# SPDX-License-Identifier: MIT
"""A router: routes, DHCP, router advertisements, names, NAT. README.md has the settings."""

import running

running.run()
