# SPDX-License-Identifier: MIT
"""A DNS server: zones from files or other servers, by UDP and TCP until Ctrl-C. README.md has the settings."""

import service

service.run()
