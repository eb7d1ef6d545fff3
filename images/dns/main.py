# SPDX-License-Identifier: MIT
"""An authoritative DNS server: zones from files, answered by UDP and TCP until Ctrl-C. README.md has the settings."""

import service

service.run()
